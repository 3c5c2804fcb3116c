//! `make bench`: the real server on loopback, beside a bare route of the same build and a receiver alone.
//! Ratios tell more than figures: both sides of each run on the same machine, turn by turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::as_conversions,
    reason = "a program for developers"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App as Actix, HttpResponse, HttpServer, web};
use diesel::prelude::*;
use gatepost::app::{App, Running};
use gatepost::config::{Environment, Settings, Sources};
use gatepost::domain::access_token::{NewToken, TokenDraft};
use gatepost::domain::actor::Authority;
use gatepost::domain::api_key::{KeyDraft, NewKey};
use gatepost::domain::scope::ScopeSet;
use gatepost::domain::{Actor, Clock, Role, Via};
use gatepost::services::accounts::{self, NewUser};
use gatepost::services::tenants::{self, NewTenant};
use gatepost::services::webhooks::{self, WebhookFields};
use gatepost::services::{Operator, access_tokens, api_keys};
use gatepost::store::Scope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Turns of each side, and how long one lasts.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(1500);
const CONNECTIONS: usize = 32;
const EVENTS: u64 = 2000;

static RECEIVED: AtomicU64 = AtomicU64::new(0);

fn main() {
    // `cargo test --benches` and nextest ask for a list: there is nothing to list here.
    if std::env::args().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    actix_web::rt::System::new().block_on(measure());
}

async fn measure() {
    let url = database();
    let running = App::start(settings(&url), Clock::default()).await.expect("the server starts");
    let plain = plain_server();
    let house = furnish(&running, plain).await;

    println!("Verification, {CONNECTIONS} connections, median of {TURNS} turns of {TURN:?} each");
    let bare = request("GET", "/bare", plain, &[], "");
    let verify = format!("{{\"key\": \"{}\"}}", house.key);
    let bearer = format!("authorization: Bearer {}", house.token);
    let verification =
        request("POST", "/api/keys/verification", running.addr, &[&bearer, "content-type: application/json"], &verify);
    let protected = request("GET", "/protected/", running.addr, &[&format!("x-api-key: {}", house.key)], "");
    let sides = [
        ("bare route", plain, bare),
        ("POST /api/keys/verification", running.addr, verification),
        ("GET /protected/", running.addr, protected),
    ];
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
    for _ in 0..TURNS {
        for ((_, addr, request), rates) in sides.iter().zip(&mut rates) {
            rates.push(rate(*addr, request).await);
        }
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    for ((name, _, _), rate) in sides.iter().zip(&medians) {
        println!("  {name:<30} {rate:>9.0}/s   {:.2} of the bare route", rate / medians.first().unwrap());
    }

    println!("Delivery, {EVENTS} events to one receiver on this machine");
    let (mut direct, mut delivered) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        direct.push(post_directly(plain).await);
        delivered.push(publish_and_wait(&running, &house).await);
    }
    let (direct, delivered) = (median(direct), median(delivered));
    println!("  posted directly                {direct:>9.0}/s");
    println!("  published, signed, delivered   {delivered:>9.0}/s   {:.2} of posting directly", delivered / direct);
    running.stop().await;
}

/// A database of its own in the cluster that `scripts/with-postgres` has started.
fn database() -> String {
    let base = std::env::var("GATEPOST_TEST_DATABASE_URL").expect("run `make bench`, which starts a Postgres");
    let mut conn = PgConnection::establish(&base).expect("the cluster answers");
    diesel::sql_query("DROP DATABASE IF EXISTS gatepost_bench").execute(&mut conn).unwrap();
    diesel::sql_query("CREATE DATABASE gatepost_bench").execute(&mut conn).unwrap();
    let mut url = url::Url::parse(&base).unwrap();
    url.set_path("gatepost_bench");
    url.to_string()
}

fn settings(url: &str) -> Settings {
    let environment: Environment = [
        ("DATABASE_URL", url),
        ("API_KEY_PEPPER", "q8Zr1vW0xJ5mT7nB3kD9hF2sL6pC4yGaXuEiOoRtYw"),
        ("GATEPOST_MASTER_KEY", "3q2+796tvu8BI0VniavN7wAREiNEVVZnd4iZqrvM3e8="),
        ("GATEPOST_DATA_DIR", "/nonexistent"),
        ("GATEPOST_BIND", "127.0.0.1:0"),
        ("GATEPOST_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8"),
        ("GATEPOST_ALLOW_HTTP_WEBHOOKS", "true"),
    ]
    .into_iter()
    .collect();
    Settings::load(&Sources::gather(BTreeMap::new(), environment, None).unwrap()).unwrap()
}

/// The bare route and the receiver, with as many workers as Gatepost has by default.
fn plain_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let app = || {
        let bare = web::resource("/bare")
            .route(web::get().to(|| async { HttpResponse::Ok().json(serde_json::json!({"status": "ok"})) }));
        let hook = web::resource("/hook").route(web::post().to(|_: web::Bytes| async {
            RECEIVED.fetch_add(1, Ordering::Relaxed);
            HttpResponse::Ok().finish()
        }));
        Actix::new().service(bare).service(hook)
    };
    tokio::spawn(HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap().run());
    addr
}

struct House {
    key: String,
    token: String,
}

/// A tenant with a key that is never limited, a token, and a webhook to the receiver.
async fn furnish(running: &Running, receiver: SocketAddr) -> House {
    let (hasher, vault, policy) =
        (running.state.hasher.clone(), running.state.vault.clone(), running.state.policy.clone());
    let now = running.state.clock.now();
    let make = move |conn: &mut PgConnection| {
        let who = Operator::at_the_console();
        let tenant = tenants::create(conn, &who, &NewTenant::parse("Bench", None, None)?, now)?.id;
        let user = accounts::create(
            conn,
            &who,
            &NewUser::parse("bench@example.com", None, "measure twice, cut once", true)?,
            now,
        )?
        .id;
        let authority = Authority::Person { role: Role::Owner, scopes: ScopeSet::all() };
        let actor = Actor {
            tenant,
            user: Some(user),
            is_operator: true,
            authority,
            via: Via::Cli,
            label: "bench".to_owned(),
            ip: None,
            request_id: None,
        };
        let draft = KeyDraft { name: Some("bench".to_owned()), rate_limit: Some(1_000_000_000), ..KeyDraft::default() };
        let key = api_keys::mint(conn, &actor, &hasher, NewKey::parse(draft, now)?, now)?.secret.reveal_once();
        let draft = TokenDraft {
            name: Some("bench".to_owned()),
            tenant: Some(tenant),
            scopes: Some(vec!["*".to_owned()]),
            expires_at: None,
        };
        let token =
            access_tokens::mint_for(conn, &who, &hasher, user, NewToken::parse(draft, now)?, now)?.secret.reveal_once();
        let ask = WebhookFields {
            url: Some(format!("http://{receiver}/hook")),
            events: Some(vec!["*".to_owned()]),
            max_in_flight: Some(64),
            ..WebhookFields::default()
        };
        webhooks::subscribe(conn, &vault, &policy, &actor, &ask, now)?;
        Ok(House { key, token })
    };
    running.state.pages.tx(Scope::Instance, make).await.expect("the house can be furnished")
}

fn request(method: &str, path: &str, addr: SocketAddr, headers: &[&str], body: &str) -> Arc<[u8]> {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let text =
        format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    text.into_bytes().into()
}

/// Requests answered with 200 per second, over connections that are kept.
async fn rate(addr: SocketAddr, request: &Arc<[u8]>) -> f64 {
    let begun = Instant::now();
    let loops = (0..CONNECTIONS).map(|_| tokio::spawn(ask_again(addr, Arc::clone(request), begun + TURN)));
    let counts = futures_util::future::join_all(loops).await;
    let total: u64 = counts.into_iter().map(|count| count.expect("no loop panics")).sum();
    total as f64 / begun.elapsed().as_secs_f64()
}

async fn ask_again(addr: SocketAddr, request: Arc<[u8]>, until: Instant) -> u64 {
    let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
    stream.set_nodelay(true).unwrap();
    let (mut buffer, mut count) = (Vec::with_capacity(4096), 0);
    while Instant::now() < until {
        stream.write_all(&request).await.unwrap();
        read_answer(&mut stream, &mut buffer).await;
        count += 1;
    }
    count
}

/// Reads one answer with a content length; anything but 200 ends the measurement.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(0 < stream.read_buf(buffer).await.unwrap(), "the server has hung up");
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(buffer.get(..end).unwrap()).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a content length");
        let whole = end + 4 + length.trim().parse::<usize>().unwrap();
        while buffer.len() < whole {
            assert!(0 < stream.read_buf(buffer).await.unwrap(), "the server has hung up");
        }
        return;
    }
}

/// Posts per second by the same client that delivers, without Gatepost between.
async fn post_directly(receiver: SocketAddr) -> f64 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let begun = Instant::now();
    let share = EVENTS / CONNECTIONS as u64;
    let posts = (0..CONNECTIONS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..share {
                client.post(format!("http://{receiver}/hook")).body("{\"id\": 1}").send().await.unwrap();
            }
        })
    });
    futures_util::future::join_all(posts).await;
    (share * CONNECTIONS as u64) as f64 / begun.elapsed().as_secs_f64()
}

/// Events per second from the first publishing call to the last arrival at the receiver.
async fn publish_and_wait(running: &Running, house: &House) -> f64 {
    let body = "{\"type\": \"order.created\", \"data\": {\"id\": 1}}";
    let headers = [format!("authorization: Bearer {}", house.token), "content-type: application/json".to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let request = request("POST", "/api/events", running.addr, &headers, body);
    let (before, begun) = (RECEIVED.load(Ordering::Relaxed), Instant::now());
    let share = EVENTS / 8;
    let publishers = (0..8).map(|_| tokio::spawn(publish(running.addr, Arc::clone(&request), share)));
    futures_util::future::join_all(publishers).await;
    while RECEIVED.load(Ordering::Relaxed) < before + share * 8 {
        assert!(begun.elapsed() < Duration::from_secs(120), "deliveries are missing");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (share * 8) as f64 / begun.elapsed().as_secs_f64()
}

async fn publish(addr: SocketAddr, request: Arc<[u8]>, count: u64) {
    let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
    let mut buffer = Vec::with_capacity(4096);
    for _ in 0..count {
        stream.write_all(&request).await.unwrap();
        buffer.clear();
        while !buffer.windows(4).any(|bytes| bytes == b"\r\n\r\n") || !buffer.ends_with(b"}") {
            assert!(0 < stream.read_buf(&mut buffer).await.unwrap(), "the server has hung up");
        }
        assert!(buffer.starts_with(b"HTTP/1.1 202"), "{}", String::from_utf8_lossy(&buffer));
    }
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    *rates.get(rates.len() / 2).unwrap()
}

//! Programs of the child processes: a bare actix server, and Gatepost with a tenant, keys and a token.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use actix_web::{App as Actix, HttpResponse, HttpServer, web};
use diesel::prelude::*;
use gatepost::app::{App, Running};
use gatepost::config::{Environment, Settings, Sources};
use gatepost::domain::access_token::{NewToken, TokenDraft};
use gatepost::domain::actor::Authority;
use gatepost::domain::api_key::{KeyDraft, KeyPrefix, KeySecret, NewKey};
use gatepost::domain::scope::ScopeSet;
use gatepost::domain::{Actor, Clock, Role, Via};
use gatepost::services::accounts::{self, NewUser};
use gatepost::services::tenants::{self, NewTenant};
use gatepost::services::{Operator, access_tokens, api_keys};
use gatepost::store::{Scope, Tx};
use serde_json::{Value, json};

/// Body about as long as a verification's response, within a tenth. It measures the cost of HTTP alone.
pub const AS_MUCH: &[u8] = &[b' '; 1_180];
static RECEIVED: AtomicU64 = AtomicU64::new(0);
/// Event numbers with their arrival times, in microseconds of the machine's clock.
static ARRIVALS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// Returns microseconds of the clock that all processes of this machine share.
pub fn micros() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Starts a bare route and a counting webhook receiver, with as many workers as Gatepost has by default.
pub fn bare() -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let app = || {
        let as_much = |_: web::Bytes| async { HttpResponse::Ok().content_type("application/json").body(AS_MUCH) };
        let bare = web::resource("/bare")
            .route(web::get().to(|| async { HttpResponse::Ok().json(json!({"status": "ok"})) }))
            .route(web::post().to(as_much));
        let hook = web::resource("/hook").route(web::post().to(|_: web::Bytes| async {
            RECEIVED.fetch_add(1, Ordering::Relaxed);
            HttpResponse::Ok().finish()
        }));
        let count = web::resource("/count")
            .route(web::get().to(|| async { HttpResponse::Ok().body(RECEIVED.load(Ordering::Relaxed).to_string()) }));
        let clocked = web::resource("/clocked").route(web::post().to(|body: web::Bytes| async move {
            let at = micros();
            let said: Value = serde_json::from_slice(&body).unwrap();
            ARRIVALS.lock().unwrap().push((said["data"]["n"].as_u64().unwrap(), at));
            HttpResponse::Ok().finish()
        }));
        let arrivals = web::resource("/arrivals")
            .route(web::get().to(|| async { HttpResponse::Ok().json(std::mem::take(&mut *ARRIVALS.lock().unwrap())) }));
        Actix::new().service(bare).service(hook).service(count).service(clocked).service(arrivals)
    };
    tokio::spawn(HttpServer::new(app).workers(2).disable_signals().listen(listener).unwrap().run());
    json!({"addr": addr.to_string()})
}

/// Starts Gatepost with a database of this name and these additional settings.
pub async fn gatepost(name: &str, extra: &[(&str, &str)]) -> Value {
    // Logs like the product. Without a subscriber, each span would be formatted for `log`.
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::sink).init();
    let url = database(name);
    let running = App::start(settings(&url, extra), Clock::default()).await.expect("the server starts");
    let mut told = furnish(&running).await;
    told["addr"] = json!(running.addr.to_string());
    told["database"] = json!(url);
    // Keep the server running as long as the process lives.
    std::mem::forget(running);
    told
}

/// Creates a database in the cluster that `scripts/with-postgres` started.
fn database(name: &str) -> String {
    let base = std::env::var("GATEPOST_TEST_DATABASE_URL").expect("run `make bench`, which starts a Postgres");
    let mut conn = PgConnection::establish(&base).expect("the cluster answers");
    diesel::sql_query(format!("DROP DATABASE IF EXISTS {name}")).execute(&mut conn).unwrap();
    diesel::sql_query(format!("CREATE DATABASE {name}")).execute(&mut conn).unwrap();
    let mut url = url::Url::parse(&base).unwrap();
    url.set_path(name);
    url.to_string()
}

fn settings(url: &str, extra: &[(&str, &str)]) -> Settings {
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
    .chain(extra.iter().copied())
    .collect();
    Settings::load(&Sources::gather(BTreeMap::new(), environment, None).unwrap()).unwrap()
}

/// Creates a tenant with an unlimited key and a token.
async fn furnish(running: &Running) -> Value {
    let (hasher, now) = (running.state.hasher.clone(), running.state.clock.now());
    let unknown = KeySecret::generate(&KeyPrefix::parse("sk").unwrap(), gatepost::domain::api_key::Environment::Live);
    let unknown = unknown.unwrap().reveal_once();
    let make = move |tx: &mut Tx<'_>| {
        let who = Operator::at_the_console();
        let tenant = tenants::create(tx, &who, &NewTenant::parse("Bench", None, Some("unlimited"))?)?.id;
        let person = NewUser::parse("bench@example.com", None, "measure twice, cut once", true, &[])?;
        let user = accounts::create(tx, &who, &person)?.id;
        let actor = Actor {
            tenant,
            user: Some(user),
            is_operator: true,
            authority: Authority::Person { role: Role::Owner, scopes: ScopeSet::all() },
            via: Via::Cli,
            label: "bench".to_owned(),
            ip: None,
            request_id: None,
        };
        let draft = KeyDraft { name: Some("bench".to_owned()), rate_limit: Some(1_000_000_000), ..KeyDraft::default() };
        let minted = api_keys::mint(tx, &actor, &hasher, NewKey::parse(draft, now)?)?;
        let draft = TokenDraft {
            name: Some("bench".to_owned()),
            tenant: Some(tenant),
            scopes: Some(vec!["*".to_owned()]),
            expires_at: None,
        };
        let token = access_tokens::mint_for(tx, &who, &hasher, user, NewToken::parse(draft, now)?)?;
        let calm = tenants::create(tx, &who, &NewTenant::parse("Calm", None, Some("unlimited"))?)?.id;
        let draft = TokenDraft {
            name: Some("calm".to_owned()),
            tenant: Some(calm),
            scopes: Some(vec!["*".to_owned()]),
            expires_at: None,
        };
        let calm = access_tokens::mint_for(tx, &who, &hasher, user, NewToken::parse(draft, now)?)?;
        let draft = TokenDraft {
            name: Some("instance".to_owned()),
            tenant: None,
            scopes: Some(vec!["*".to_owned()]),
            expires_at: None,
        };
        let instance = access_tokens::mint_for(tx, &who, &hasher, user, NewToken::parse(draft, now)?)?;
        let (id, key, token) = (minted.key.id.0, minted.secret.reveal_once(), token.secret.reveal_once());
        Ok(
            json!({"key_id": id, "key": key, "token": token, "unknown": unknown, "calm_token": calm.secret.reveal_once(),
                "instance_token": instance.secret.reveal_once()}),
        )
    };
    running.state.pages.tx(Scope::Instance, make).await.expect("the house can be furnished")
}

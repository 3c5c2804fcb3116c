//! Stops and rolling restarts: a load balancer has time to notice, and no request fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::command::Gatepost;
use super::crashes::{LOOPBACK, prepare};
use super::serving::{SERVE, Served};
use crate::support::database::Database;
use crate::support::{Person, Receiver};

fn drained(database: &Database, seconds: &str) -> Gatepost {
    let own = [("DATABASE_URL", database.url.as_str()), ("GATEPOST_DRAIN_SECONDS", seconds)];
    Gatepost::new(&[&own[..], &LOOPBACK].concat())
}

async fn until_not_ready(stranger: &Person) -> Value {
    loop {
        let answer = stranger.get("/readyz").await;
        if answer.status == 503 {
            return answer.json();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn after_sigterm_readyz_fails_while_requests_are_still_answered() {
    let database = Database::clone_template();
    let mut served = Served::start(&drained(&database, "300"));
    let stranger = Person::stranger(&served.base);

    served.signal(Signal::TERM);

    let problem = until_not_ready(&stranger).await;
    assert_eq!(problem["reasons"][0]["code"], "stopping", "{problem}");
    stranger.get("/healthz").await.assert_ok();
    served.signal(Signal::TERM);
    assert_eq!(served.child.wait().unwrap().code(), Some(0), "a second signal ends the drain");
}

#[actix_web::test]
async fn during_a_stop_every_response_closes_its_connection() {
    let database = Database::clone_template();
    let mut served = Served::start(&drained(&database, "300"));
    let stranger = Person::stranger(&served.base);
    assert_eq!(stranger.get("/healthz").await.header("connection"), "");
    served.signal(Signal::TERM);
    until_not_ready(&stranger).await;

    for path in
        ["/healthz", "/readyz", "/sign-in", "/nothing/here", "/api/keys", "/auth", "/auth?nginx=1", "/static/no"]
    {
        assert_eq!(stranger.get(path).await.header("connection"), "close", "{path}");
    }
    let verification = stranger.post_json("/api/keys/verification", json!({"key": "x"})).await;
    assert_eq!(verification.header("connection"), "close");

    served.signal(Signal::INT);
    served.child.wait().unwrap();
}

#[actix_web::test]
async fn ctrl_c_stops_without_a_drain() {
    let database = Database::clone_template();
    let mut served = Served::start(&drained(&database, "300"));
    served.signal(Signal::INT);
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
}

/// Backend of the load balancer.
#[derive(Default)]
struct Backend {
    is_ready: bool,
    idle: Vec<TcpStream>,
}

/// Load balancer that spreads requests over ready backends, keeps connections open and never retries.
#[derive(Clone, Default)]
struct Balancer {
    backends: Arc<Mutex<HashMap<String, Backend>>>,
    turn: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Balancer {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Checks a backend's readiness every 50 ms, each time on a new connection, until the backend is gone.
    async fn watch(self, base: String) {
        self.backends.lock().unwrap().insert(base.clone(), Backend::default());
        while !self.is_over() {
            let stream = TcpStream::connect(address(&base)).await;
            let Ok(stream) = stream else { break };
            let answer = exchange(stream, "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            let is_ready = answer.is_ok_and(|(status, _)| status == 200);
            if let Some(backend) = self.backends.lock().unwrap().get_mut(&base) {
                backend.is_ready = is_ready;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.backends.lock().unwrap().remove(&base);
    }

    async fn until_ready(&self, base: &str) {
        while !self.backends.lock().unwrap().get(base).is_some_and(|backend| backend.is_ready) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn pick(&self) -> (String, Option<TcpStream>) {
        let mut backends = self.backends.lock().unwrap();
        let mut ready: Vec<_> = backends.iter_mut().filter(|(_, backend)| backend.is_ready).collect();
        ready.sort_by_key(|(base, _)| (*base).clone());
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        let (base, backend) = ready.swap_remove(turn);
        (base.clone(), backend.idle.pop())
    }

    async fn call(&self, request: &str) -> std::io::Result<u16> {
        let (base, idle) = self.pick();
        let stream = match idle {
            Some(stream) => stream,
            None => TcpStream::connect(address(&base)).await?,
        };
        let (status, kept) = exchange(stream, request).await?;
        if let (Some(stream), Some(backend)) = (kept, self.backends.lock().unwrap().get_mut(&base)) {
            backend.idle.push(stream);
        }
        Ok(status)
    }
}

fn address(base: &str) -> &str {
    base.trim_start_matches("http://")
}

/// Sends a request. Returns the status of the response, and the connection unless the server closes it.
async fn exchange(mut stream: TcpStream, request: &str) -> std::io::Result<(u16, Option<TcpStream>)> {
    stream.write_all(request.as_bytes()).await?;
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&read);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        if body.len() < header("content-length").unwrap_or("0").parse::<usize>().unwrap() {
            continue;
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_closed = header("connection") == Some("close");
        return Ok((status, (!is_closed).then_some(stream)));
    }
}

fn post(path: &str, token: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends requests until the test is over. Returns their number, and the failed ones.
async fn calls(balancer: Balancer, requests: Vec<(String, u16)>) -> (usize, Vec<String>) {
    let (mut count, mut failed) = (0, Vec::new());
    for (request, expected) in requests.iter().cycle() {
        if balancer.is_over() {
            break;
        }
        let answer = balancer.call(request).await;
        count += 1;
        if !answer.as_ref().is_ok_and(|status| status == expected) {
            failed.push(format!("{}: {answer:?}", request.lines().next().unwrap_or_default()));
        }
        // Leave processor time to the replicas.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (count, failed)
}

#[actix_web::test]
async fn rolling_restarts_behind_a_load_balancer_without_retries_fail_no_request() {
    let (database, receiver) = (Database::clone_template(), Receiver::start().await);
    let gatepost = drained(&database, "3");
    let token = prepare(&gatepost, &receiver);
    let create = ["keys", "create", "--tenant", "acme", "--name", "ci", "--rate-limit", "1000000"];
    let secret = gatepost.run(&create).ok().line().to_owned();
    let balancer = Balancer::default();
    let mut replicas = vec![Served::start(&gatepost), Served::start(&gatepost)];
    for replica in &replicas {
        tokio::spawn(balancer.clone().watch(replica.base.clone()));
        balancer.until_ready(&replica.base).await;
    }
    let requests = vec![
        (post("/api/keys/verification", &token, &json!({"key": secret})), 200),
        (format!("GET /protected/ HTTP/1.1\r\nhost: x\r\nx-api-key: {secret}\r\n\r\n"), 200),
        (post("/api/events", &token, &json!({"type": "order.created", "data": 1})), 202),
        (format!("GET /api/keys HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"), 200),
    ];
    let callers: Vec<_> = (0..3).map(|_| tokio::spawn(calls(balancer.clone(), requests.clone()))).collect();

    for _ in 0..4 {
        let old = replicas.remove(0);
        assert_eq!(tokio::task::spawn_blocking(move || old.stop()).await.unwrap(), 0);
        let child = gatepost.start(&SERVE);
        let new = tokio::task::spawn_blocking(move || Served::listening(child)).await.unwrap();
        tokio::spawn(balancer.clone().watch(new.base.clone()));
        balancer.until_ready(&new.base).await;
        replicas.push(new);
    }

    balancer.is_over.store(true, Ordering::Release);
    let (mut count, mut failed) = (0, Vec::new());
    for caller in callers {
        let (made, more) = caller.await.unwrap();
        count += made;
        failed.extend(more);
    }
    assert!(failed.is_empty(), "{} of {count} calls failed: {failed:?}", failed.len());
    assert!(100 < count, "{count} calls show nothing");
}

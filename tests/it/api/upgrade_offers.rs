//! Requests that offer another protocol: the server ignores the offer and keeps the connection open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::{mint, text};
use crate::support::{Connection, TestApp};

const OFFERS: [&str; 6] = [
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
    "connection: upgrade\r\nupgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "CONNECTION: keep-alive ,UPGRADE\r\nUPGRADE: TLS/1.0, h2c\r\n",
    "Connection: keep-alive\r\nConnection:Upgrade\r\nUpgrade: h2c\r\nUpgrade: WebSocket\r\n",
    "Upgrade: websocket\r\n",
    "Connection: upgrade\r\n",
];

/// Request line, headers, body, expected status, and expected part of the response body.
type Case = (String, String, u16, &'static str);

/// Returns requests for each kind of route, with and without bodies.
async fn cases(app: &TestApp) -> Vec<Case> {
    let ada = app.admin("ada").await;
    let token = app.mint_token(gatepost::domain::UserId(ada.user_id), Some(app.tenant), &["*"]);
    let key = mint(&app.token_of(&ada, &["*"]), json!({"rate_limit": 1000})).await;
    let (secret, bearer) = (text(&key, "secret"), format!("Authorization: Bearer {token}\r\n"));
    let sized = |body: &str| format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let unknown_type = |body: &str| sized(body).replace("application/json", "text/plain");
    let chunked = |body: &str| {
        let (first, rest) = body.split_at(5);
        let length = rest.len();
        format!(
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{first}\r\n{length:x}\r\n{rest}\r\n0\r\n\r\n"
        )
    };
    let (verify, create) = (json!({"key": secret}).to_string(), json!({"name": "offered"}).to_string());
    let case = |line: &str, rest: String, status, part| (line.to_owned(), rest, status, part);
    let page = app.stranger().visit("/sign-in").await.html();
    let style = page.select("link[rel=stylesheet]")[0].attr("href").unwrap().to_owned();
    vec![
        case("POST /api/keys/verification", format!("{bearer}{}", sized(&verify)), 200, "VALID"),
        case("POST /api/keys/verification", format!("{bearer}{}", chunked(&verify)), 200, "VALID"),
        case("POST /api/keys/verification", format!("{bearer}\r\n"), 422, "\"key\""),
        case("GET /auth", format!("X-API-Key: {secret}\r\n\r\n"), 200, ""),
        case("GET /auth", "\r\n".to_owned(), 401, ""),
        case("GET /api/data", format!("X-API-Key: {secret}\r\n\r\n"), 200, ""),
        case("GET /api/keys", format!("{bearer}\r\n"), 200, "next_cursor"),
        case("POST /api/keys", format!("{bearer}{}", sized(&create)), 201, "offered"),
        case("POST /api/keys", format!("{bearer}{}", chunked(&create)), 201, "offered"),
        case("POST /api/nowhere", sized(&create), 404, "not_found"),
        case("POST /api/keys", sized(&create), 401, "unauthenticated"),
        case("POST /api/keys/verification", sized(&verify), 401, "unauthenticated"),
        case("POST /api/keys/verification/", sized(&verify), 401, "unauthenticated"),
        case("POST /api/keys/verification", chunked(&verify), 401, "unauthenticated"),
        case(
            "POST /api/keys/verification",
            format!("{bearer}{}", unknown_type(&verify)),
            415,
            "unsupported_media_type",
        ),
        case("POST /api/keys", format!("{bearer}{}", unknown_type(&create)), 415, "unsupported_media_type"),
        case("POST /nowhere", format!("Accept: text/html\r\n{}", sized("a=b")), 404, "</html>"),
        case("POST /auth", format!("X-API-Key: {secret}\r\n{}", sized(&create)), 200, ""),
        case("PUT /api/keys", format!("{bearer}{}", sized(&create)), 405, "method_not_allowed"),
        case("PUT /api/keys", format!("{bearer}\r\n"), 405, "method_not_allowed"),
        case("GET /api/nowhere", "\r\n".to_owned(), 404, "not_found"),
        case("GET /healthz", "\r\n".to_owned(), 200, ""),
        case("GET /sign-in", "Accept: text/html\r\n\r\n".to_owned(), 200, "</html>"),
        case("HEAD /sign-in", "Accept: text/html\r\n\r\n".to_owned(), 200, ""),
        case("GET /nowhere", "Accept: text/html\r\n\r\n".to_owned(), 404, "</html>"),
        case("POST /sign-in", format!("Accept: text/html\r\n{}", sized("email=ada")), 403, "</html>"),
        case(&format!("GET {style}"), "\r\n".to_owned(), 200, ":root"),
    ]
}

fn request((line, rest, ..): &Case, offer: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{offer}{rest}")
}

#[actix_web::test]
async fn an_offer_of_another_protocol_is_ignored_on_every_kind_of_route() {
    let app = TestApp::start().await;
    for case in cases(&app).await {
        for offer in OFFERS {
            let mut connection = Connection::open(&app.base).await;
            let plain = request(&case, "");
            for sent in [request(&case, offer), request(&case, offer), plain] {
                connection.send(sent.as_bytes()).await;
                let answer = connection.answer(!case.0.starts_with("HEAD")).await;
                assert_eq!(answer.status, case.2, "{sent}: {answer:?}");
                assert!(answer.body.contains(case.3), "{sent}: {answer:?}");
                assert!(!answer.head.contains("\r\nconnection: "), "{sent}: {answer:?}");
            }
        }
    }
}

#[actix_web::test]
async fn a_body_in_a_separate_tcp_segment_keeps_the_connection_open() {
    let app = TestApp::start().await;
    for case in cases(&app).await {
        let mut connection = Connection::open(&app.base).await;
        let sent = request(&case, "");
        let (head, body) = sent.split_at(sent.find("\r\n\r\n").unwrap() + 4);
        for _ in 0..2 {
            connection.send(head.as_bytes()).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            connection.send(body.as_bytes()).await;
            let answer = connection.answer(!case.0.starts_with("HEAD")).await;
            assert_eq!(answer.status, case.2, "{sent}: {answer:?}");
            assert!(!answer.head.contains("\r\nconnection: "), "{sent}: {answer:?}");
        }
    }
}

#[actix_web::test]
async fn an_error_response_does_not_wait_for_a_body_that_never_arrives() {
    let app = TestApp::start().await;
    for path in ["/api/keys", "/api/keys/verification", "/api/nowhere"] {
        let mut connection = Connection::open(&app.base).await;
        connection.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n").as_bytes()).await;
        let answer = connection.answer(true).await;
        assert!([401, 404].contains(&answer.status), "{path}: {answer:?}");
        assert!(answer.head.contains("\r\nconnection: close\r\n"), "{path}: {answer:?}");
    }
}

#[actix_web::test]
async fn pipelined_requests_with_offers_are_all_answered() {
    let app = TestApp::start().await;
    for case in cases(&app).await {
        let mut connection = Connection::open(&app.base).await;
        let all: String = OFFERS.iter().map(|offer| request(&case, offer)).collect();
        connection.send(all.as_bytes()).await;
        for offer in OFFERS {
            let answer = connection.answer(!case.0.starts_with("HEAD")).await;
            assert_eq!(answer.status, case.2, "{offer} of {all}");
            assert!(answer.body.contains(case.3), "{offer} of {all}");
        }
    }
}

#[actix_web::test]
async fn a_connection_is_closed_if_the_client_asks() {
    let app = TestApp::start().await;
    let mut connection = Connection::open(&app.base).await;
    let close = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n";

    connection.send(close.as_bytes()).await;

    assert!(connection.answer(true).await.head.contains("\r\nconnection: close\r\n"));
}

#[actix_web::test]
async fn a_body_that_looks_like_an_offer_arrives_as_it_was_sent() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.mint_token(gatepost::domain::UserId(ada.user_id), Some(app.tenant), &["*"]);
    let body = "{\"type\": \"a\", \"data\":\r\n{\r\n\r\n\"Connection: Upgrade\":\r\n\"Upgrade: h2c\"}}";
    let head = format!("POST /api/events HTTP/1.1\r\nHost: x\r\n{}Authorization: Bearer {token}\r\n", OFFERS[0]);
    let mut connection = Connection::open(&app.base).await;

    connection.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;

    let answer = connection.answer(true).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let event: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let path = format!("/api/events/{}", text(&event, "id"));
    let kept = app.token_of(&ada, &["*"]).get(path).await.assert_ok().json();
    assert_eq!(kept["data"], json!({"Connection: Upgrade": "Upgrade: h2c"}));
}

/// Starts a proxy to the server. Returns its address and a counter of connections.
async fn counting_proxy(base: &str) -> (String, Arc<AtomicUsize>) {
    let (server, count) = (base.trim_start_matches("http://").to_owned(), Arc::new(AtomicUsize::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, counter) = (listener.local_addr().unwrap(), Arc::clone(&count));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    (format!("http://{address}"), count)
}

/// Runs only on machines with a JDK; elsewhere it prints that it was skipped.
#[actix_web::test]
async fn java_s_http_client_reuses_its_connection_and_loses_no_call() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/api/Verifications.java");
    if std::process::Command::new("javac").arg("-version").output().is_err() {
        eprintln!("this test did not run: there is no JDK");
        return;
    }
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.mint_token(gatepost::domain::UserId(ada.user_id), Some(app.tenant), &["*"]);
    let key = mint(&app.token_of(&ada, &["*"]), json!({"rate_limit": 1000})).await;
    let (base, connections) = counting_proxy(&app.base).await;

    let mut java = tokio::process::Command::new("java");
    let ended = java.args([program, &base, &token, text(&key, "secret"), "300"]).output().await.unwrap();

    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(String::from_utf8_lossy(&ended.stdout).trim(), "300 valid, 0 failed", "{said}");
    assert!(connections.load(Ordering::SeqCst) <= 2, "{connections:?} connections");
}

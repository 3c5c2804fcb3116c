//! Requests that are too large, too deep, compressed or too slow.

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admin;
use crate::support::{Person, TestApp};

async fn post(person: &Person, path: &str, body: String) -> crate::support::Answer {
    person.send(Method::POST, path, Some(("application/json", body))).await
}

#[actix_web::test]
async fn each_route_limits_the_size_of_its_body() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let of = |bytes: usize| format!(r#"{{"name": "{}"}}"#, "x".repeat(bytes));
    post(&token, "/api/keys", of(255 * 1024)).await.assert_problem(422, "invalid");
    post(&token, "/api/keys", of(257 * 1024)).await.assert_problem(413, "too_large");
    let event = |bytes: usize| format!(r#"{{"type": "a", "data": "{}"}}"#, "x".repeat(bytes));
    post(&token, "/api/events", event(255 * 1024)).await.assert_status(202);
    post(&token, "/api/events", event(300 * 1024)).await.assert_invalid("data");
    post(&token, "/api/events", event(1025 * 1024)).await.assert_problem(413, "too_large");
}

#[actix_web::test]
async fn deeply_nested_json_is_refused() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for levels in [64, 1_000, 200_000] {
        let body = format!(r#"{{"type": "a", "data": {}}}"#, nested(levels));
        post(&token, "/api/events", body).await.assert_problem(400, "malformed_json");
        post(&token, "/api/keys", format!(r#"{{"name": "a", "metadata": {}}}"#, nested(levels.min(100_000))))
            .await
            .assert_problem(400, "malformed_json");
    }
    let body = format!(r#"{{"type": "a", "data": {}}}"#, nested(60));
    let event = post(&token, "/api/events", body).await.assert_status(202).json();
    ada.visit(format!("/events/{}", event["id"].as_str().unwrap())).await.assert_ok();
    let form = ada.visit("/events/new").await.html();
    let (csrf, nonce, data) = (form.value("_csrf"), form.value("nonce"), nested(65));
    let fields = [("_csrf", csrf.as_str()), ("nonce", &nonce), ("type", "a"), ("data", &data)];
    let refused = ada.submit_exactly("/events", &fields).await.assert_status(422).html();
    assert!(refused.error_at("data").contains("levels deep"));
}

#[actix_web::test]
async fn nothing_is_decompressed() {
    let app = TestApp::start().await;
    let token = admin(&app).await.with("content-encoding", "gzip");
    // gzip of `{"name": "ci"}`.
    let bomb = hex::decode("1f8b0800000000000003ab56ca4bcc4d55b252504acedc5500a0d0b4f70e000000").unwrap();
    let sent = token.client.post(format!("{}/api/keys", token.base)).headers(token.headers.clone()).body(bomb);
    let answer = crate::support::Answer::read(sent.send().await.unwrap()).await;
    let problem = answer.assert_problem(415, "unsupported_media_type");
    assert!(problem["detail"].as_str().unwrap().contains("Content-Encoding gzip"), "{problem}");
}

/// Reads the rest of a connection until the server closes it.
async fn rest(mut connection: TcpStream) -> String {
    let mut said = String::new();
    let read = connection.read_to_string(&mut said);
    let patience = std::time::Duration::from_secs(20);
    let read = tokio::time::timeout(patience, read).await.expect("the server closes the connection");
    // A reset counts as closed, too.
    let _ = read;
    said
}

#[actix_web::test]
async fn slow_clients_get_a_timeout() {
    let app = TestApp::start_with(&[("GATEPOST_REQUEST_SECONDS", "3")]).await;
    let ada = app.admin("ada").await;
    let token = app.mint_token(gatepost::domain::UserId(ada.user_id), Some(app.tenant), &["*"]);
    let address = app.base.trim_start_matches("http://").to_owned();
    let slow = async |head: String| {
        let mut connection = TcpStream::connect(&address).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        rest(connection).await
    };
    let body = format!(
        "POST /api/keys HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: 100\r\n\r\n{{"
    );
    let (head, body) =
        futures_util::future::join(slow("GET /healthz HTTP/1.1\r\nhost: x\r\n".into()), slow(body)).await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("\"code\":\"timeout\""), "{body}");
    // The server still serves a client that is fast enough.
    app.token_of(&ada, &["*"]).post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201);
}

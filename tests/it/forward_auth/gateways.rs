//! Requests of Traefik, Caddy and Envoy, byte for byte, and how each gateway uses the responses.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{mint, recorded, text};
use crate::support::TestApp;

/// Response: status, headers in lower case, body.
struct RawResponse {
    status: u16,
    head: String,
    body: String,
}

impl RawResponse {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let found = self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }
}

/// Sends this request, with `{key}` and `{address}` replaced.
async fn ask(app: &TestApp, key: &str, request: &str) -> RawResponse {
    let address = app.base.trim_start_matches("http://");
    let lines: Vec<_> = request.trim().lines().map(str::trim).collect();
    let text = lines.join("\r\n").replace("{key}", key).replace("{address}", address);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{text}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    RawResponse { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Starts Gatepost behind a gateway on this machine. The key works only from one client address, so the gateway's
/// header must be used.
async fn start() -> (TestApp, String) {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let fields = json!({"scopes": ["orders:read"], "allowed_ips": ["203.0.113.7"], "rate_limit": 2});
    let secret = text(&mint(&app, fields).await, "secret").to_owned();
    (app, secret)
}

fn row(method: &str, endpoint: &str, status: i16, outcome: &str) -> (String, String, i16, String) {
    (method.to_owned(), endpoint.to_owned(), status, outcome.to_owned())
}

/// Traefik's request: always a GET without a body, with the client's own headers and the following ones.
const TRAEFIK: &str = "
    GET /auth?tenant=acme&scopes=orders:read HTTP/1.1
    Host: {address}
    User-Agent: curl/8.5.0
    Accept: */*
    Content-Type: application/json
    X-Api-Key: {key}
    X-Forwarded-For: 203.0.113.7
    X-Forwarded-Host: api.example.com
    X-Forwarded-Method: POST
    X-Forwarded-Port: 443
    X-Forwarded-Proto: https
    X-Forwarded-Server: edge-1
    X-Forwarded-Uri: /orders?page=2
    X-Real-Ip: 203.0.113.7
    Accept-Encoding: gzip";

#[actix_web::test]
async fn traefik_s_forward_auth() {
    let (app, key) = start().await;
    let allowed = ask(&app, &key, TRAEFIK).await;
    assert_eq!((allowed.status, allowed.header("x-gatepost-tenant"), allowed.body.as_str()), (200, "acme", ""));
    assert_eq!(allowed.header("x-gatepost-scopes"), "orders:read");
    // A client with another address is refused.
    let elsewhere = TRAEFIK.replace("203.0.113.7", "198.51.100.1");
    assert_eq!(ask(&app, &key, &elsewhere).await.status, 403);
    assert_eq!(ask(&app, &key, TRAEFIK).await.status, 200);
    // Traefik passes the whole error response to its client.
    let refused = ask(&app, &key, TRAEFIK).await;
    assert_eq!((refused.status, refused.header("content-type")), (429, "application/problem+json"));
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    assert!(!refused.head.contains("location:"));
    let unknown = ask(&app, "sk_made_up", TRAEFIK).await;
    assert_eq!(unknown.status, 401);
    assert!(unknown.header("www-authenticate").contains("invalid_token"));
    let rows = recorded(&app).await;
    assert_eq!(rows[0], row("POST", "/orders", 200, "VALID"));
    assert_eq!(rows[1], row("POST", "/orders", 403, "IP_NOT_ALLOWED"));
    assert_eq!((rows.len(), &rows[3]), (4, &row("POST", "/orders", 429, "RATE_LIMITED")));
}

/// Caddy's request: it keeps the client's Host, and headers about the body that Caddy does not send.
const CADDY: &str = "
    GET /auth?tenant=acme&scopes=orders:read HTTP/1.1
    Host: api.example.com
    User-Agent: curl/8.5.0
    Accept: */*
    Authorization: Bearer {key}
    Content-Type: application/json
    X-Forwarded-For: 203.0.113.7
    X-Forwarded-Host: api.example.com
    X-Forwarded-Method: DELETE
    X-Forwarded-Proto: https
    X-Forwarded-Uri: /orders/7?force=1
    Accept-Encoding: gzip";

#[actix_web::test]
async fn caddy_s_forward_auth() {
    let (app, key) = start().await;
    let allowed = ask(&app, &key, CADDY).await;
    assert_eq!((allowed.status, allowed.body.as_str()), (200, ""));
    assert!(allowed.header("x-gatepost-key-id").starts_with("pk_"));
    let scopeless = CADDY.replace("scopes=orders:read", "scopes=orders:write");
    assert_eq!(ask(&app, &key, &scopeless).await.status, 403);
    // Without a question mark in `uri`, Caddy sends the client's own query. That names no requirement, so it is
    // refused.
    let open = CADDY.replace("?tenant=acme&scopes=orders:read", "?force=1");
    let refused = ask(&app, &key, &open).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("is not a parameter of /auth"), "{}", refused.body);
    let expected = [row("DELETE", "/orders/7", 200, "VALID"), row("DELETE", "/orders/7", 403, "INSUFFICIENT_SCOPE")];
    assert_eq!(recorded(&app).await, expected);
}

/// Envoy's request: the client's method and path behind the prefix, the configured headers, and no body.
const ENVOY: &str = "
    POST /auth/orders/7?page=2&scopes=none HTTP/1.1
    host: api.example.com
    content-length: 0
    x-api-key: {key}
    x-forwarded-for: 203.0.113.7
    x-gatepost-require-tenant: acme
    x-gatepost-require-scopes: orders:read
    x-envoy-internal: true
    x-envoy-expected-rq-timeout-ms: 2000";

#[actix_web::test]
async fn envoy_s_ext_authz() {
    let (app, key) = start().await;
    let allowed = ask(&app, &key, ENVOY).await;
    assert_eq!((allowed.status, allowed.body.as_str(), allowed.header("x-gatepost-tenant")), (200, "", "acme"));
    // Older versions of Envoy append their own address, which must be trusted too.
    let older = ENVOY.replace("x-forwarded-for: 203.0.113.7", "x-forwarded-for: 203.0.113.7,127.0.0.1");
    assert_eq!(ask(&app, &key, &older).await.status, 200);
    let refused = ask(&app, &key, ENVOY).await;
    assert_eq!((refused.status, refused.header("x-ratelimit-remaining")), (429, "0"));
    let lacking = ask(&app, &key, &ENVOY.replace("scopes: orders:read", "scopes: orders:write")).await;
    assert_eq!(lacking.status, 403);
    assert!(lacking.body.contains("\"instance\":\"/auth/orders/7\""), "{}", lacking.body);
    let mistaken = ask(&app, &key, &ENVOY.replace("tenant: acme", "tenant: acne")).await;
    assert_eq!(mistaken.status, 401);
    let rows = recorded(&app).await;
    assert_eq!(rows[0], row("POST", "/orders/7", 200, "VALID"));
    assert_eq!(
        rows[2..],
        [row("POST", "/orders/7", 429, "RATE_LIMITED"), row("POST", "/orders/7", 403, "INSUFFICIENT_SCOPE")]
    );
}

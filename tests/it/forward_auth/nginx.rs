//! Real nginx with the documented configuration, Gatepost behind it, and an API behind both.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use gatepost::web::forward_auth::recipes::Site;
use serde_json::json;

use super::{mint_as, recorded, text};
use crate::support::people::PASSWORD;
use crate::support::{Person, Receiver, TestApp};

/// Running nginx: a single process on loopback with its own directory, stopped when the test ends.
struct Nginx {
    base: String,
    process: Child,
    _prefix: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Text around the files of `conf.d`, as in a distribution's nginx.conf.
const FRAME: &str = "
daemon off;
master_process off;
pid nginx.pid;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path temp/body;
    proxy_temp_path temp/proxy;
    fastcgi_temp_path temp/fastcgi;
    uwsgi_temp_path temp/uwsgi;
    scgi_temp_path temp/scgi;
    include api.conf;
}
";

impl Nginx {
    /// Starts nginx with this site, which listens at this address.
    fn start(configuration: &str, listen: &str) -> Self {
        let prefix = tempfile::tempdir().unwrap();
        fs::create_dir(prefix.path().join("temp")).unwrap();
        fs::write(prefix.path().join("nginx.conf"), FRAME).unwrap();
        fs::write(prefix.path().join("api.conf"), configuration).unwrap();
        let mut process = Command::new(program())
            .arg("-p")
            .arg(prefix.path())
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed: `make test` sees to it");
        let start = Instant::now();
        // nginx writes its PID file once it listens, so no other process is at this address.
        while !prefix.path().join("nginx.pid").exists() || TcpStream::connect(listen).is_err() {
            let ended = process.try_wait().unwrap();
            let log = fs::read_to_string(prefix.path().join("error.log")).unwrap_or_default();
            assert!(ended.is_none() && start.elapsed() < Duration::from_secs(20), "nginx does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { base: format!("http://{listen}"), process, _prefix: prefix }
    }

    /// Returns a client of the API behind nginx.
    fn client(&self, secret: &str) -> Person {
        Person::stranger(&self.base).with("x-api-key", secret)
    }
}

/// Returns the path of nginx. Debian installs it in a directory that is only in root's PATH.
fn program() -> &'static str {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx", "/usr/local/bin/nginx"];
    known.into_iter().find(|path| Path::new(path).exists()).unwrap_or("nginx")
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Starts Gatepost, an API, and nginx in front of both, which requires `orders:read` in `acme`.
async fn start() -> (TestApp, Receiver, Nginx) {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let api = Receiver::start().await;
    let listen = free_address();
    let site = Site {
        listen: listen.clone(),
        api: api.url.trim_start_matches("http://").trim_end_matches("/hook").to_owned(),
        ..Site::example(app.base.parse().unwrap(), "acme", vec!["orders:read".to_owned()])
    };
    let nginx = Nginx::start(&site.nginx().unwrap(), &listen);
    (app, api, nginx)
}

#[actix_web::test]
async fn a_valid_key_passes_and_the_api_learns_its_owner() {
    let (app, api, nginx) = start().await;
    let key = mint_as(&app.program().await, json!({"scopes": ["orders:read", "orders:write"]})).await;
    let client = nginx.client(text(&key, "secret"));
    // Headers that a client forges are overwritten.
    let client = client.with("x-gatepost-tenant", "evil").with("x-gatepost-user", "1").with("x-auth-status", "200");

    let answer = client.post_json("/orders/7?page=2", json!({"n": 1})).await;

    assert_eq!((answer.status, answer.body.as_str()), (200, "answered 200"));
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("1000", "999"));
    assert!(answer.header("x-ratelimit-reset").parse::<i64>().unwrap() > app.clock.now().timestamp());
    assert_eq!(answer.header("x-auth-status"), "", "between nginx and Gatepost");
    let received = api.received();
    assert_eq!((received.len(), received[0].line.as_str()), (1, "POST /orders/7?page=2 HTTP/1.0"));
    assert_eq!(received[0].text(), "{\"n\":1}");
    for (name, expected) in [
        ("x-gatepost-key-id", text(&key, "key")),
        ("x-gatepost-tenant", "acme"),
        ("x-gatepost-user", &key["user_id"].to_string()),
        ("x-gatepost-scopes", "orders:read orders:write"),
        ("x-gatepost-environment", "live"),
    ] {
        assert_eq!(received[0].header(name), expected, "{name}");
        assert_eq!(received[0].headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).count(), 1, "{name}");
    }
    assert_eq!(recorded(&app).await, [("POST".into(), "/orders/7".into(), 200, "VALID".into())]);
}

#[actix_web::test]
async fn without_a_valid_key_no_request_reaches_the_api() {
    let (app, api, nginx) = start().await;
    let token = app.program().await;
    let lacking = mint_as(&token, json!({"scopes": ["orders:write"]})).await;
    let far = mint_as(&token, json!({"scopes": ["*"], "allowed_ips": ["203.0.113.7"]})).await;

    let missing = Person::stranger(&nginx.base).get("/orders").await;
    assert_eq!((missing.status, missing.header("www-authenticate")), (401, "Bearer realm=\"gatepost\""));
    let unknown = nginx.client("sk_made_up").get("/orders").await;
    assert_eq!(unknown.status, 401);
    assert!(unknown.header("www-authenticate").contains("error=\"invalid_token\""));
    let forbidden = nginx.client(text(&lacking, "secret")).get("/orders").await;
    assert_eq!((forbidden.status, forbidden.header("retry-after")), (403, ""));
    assert_eq!(nginx.client(text(&far, "secret")).get("/orders").await.status, 403);
    // nginx turns Gatepost's 400 and 422 into 403, not into a server error.
    assert_eq!(nginx.client("sk_one").with("x-api-secret", "sk_two").get("/orders").await.status, 403);
    assert_eq!(nginx.client("sk_one").with("x-gatepost-require-cost", "0").get("/orders").await.status, 403);
    // Clients of nginx cannot use its internal path to Gatepost.
    assert_eq!(nginx.client(text(&lacking, "secret")).get("/_gatepost").await.status, 404);
    assert!(api.received().is_empty());
    // Behind another trusted proxy, the original client's address counts.
    let near = nginx.client(text(&far, "secret")).with("x-forwarded-for", "203.0.113.7").get("/orders").await;
    assert_eq!((near.status, api.received().len()), (200, 1));
}

#[actix_web::test]
async fn a_limit_reaches_the_client_as_429_with_retry_after() {
    let (app, api, nginx) = start().await;
    let fields = json!({"scopes": ["orders:read"], "rate_limit": 1, "rate_window_seconds": 60});
    let key = mint_as(&app.program().await, fields).await;
    let client = nginx.client(text(&key, "secret"));
    assert_eq!(client.get("/orders").await.status, 200);

    let refused = client.get("/orders").await;

    assert_eq!(refused.status, 429);
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(api.received().len(), 1);
    app.advance(TimeDelta::seconds(wait));
    assert_eq!(client.get("/orders").await.status, 200);
    let statuses: Vec<_> = recorded(&app).await.into_iter().map(|row| row.2).collect();
    assert_eq!(statuses, [200, 429, 200]);
}

#[actix_web::test]
async fn while_gatepost_cannot_decide_no_request_passes() {
    let (mut app, api, nginx) = start().await;
    let key = mint_as(&app.program().await, json!({"scopes": ["orders:read"]})).await;
    app.database.cut();
    let refused = nginx.client(text(&key, "secret")).get("/orders").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "2"));
    app.database.mend();
    app.stop().await;
    let alone = nginx.client(text(&key, "secret")).get("/orders").await;
    assert_eq!(alone.status, 500);
    assert!(api.received().is_empty());
}

/// Returns the nginx site of docs/operations.md on this address, with `host` in place of `$http_host`.
fn site_of_the_documents(app: &TestApp, listen: &str, host: &str) -> String {
    let text = include_str!("../../../docs/operations.md");
    let site = text.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let site = site.replace("listen 443 ssl;", &format!("listen {listen};"));
    assert!(site.contains("$http_host") && site.contains("http://127.0.0.1:8000"), "{site}");
    site.replace("http://127.0.0.1:8000", &app.base).replace("$http_host", host)
}

#[actix_web::test]
async fn people_sign_in_behind_nginx_on_an_odd_port() {
    let listen = free_address();
    let base = format!("http://{listen}");
    let public_url = [("GATEPOST_PUBLIC_URL", base.as_str())];
    // With the public URL set, a proxy that drops the port works too.
    for (settings, host) in [(&[][..], "$http_host"), (&public_url[..], "$host"), (&public_url[..], "localhost")] {
        let app = TestApp::start_with(settings).await;
        app.admin("ada").await;
        let nginx = Nginx::start(&site_of_the_documents(&app, &listen, host), &listen);
        let browser = Person::stranger(&nginx.base).with("origin", &base);
        let fields = [("email", "ada@example.com"), ("password", PASSWORD)];
        browser.submit("/sign-in", &fields).await.assert_see_other("/");
        browser.visit("/").await.assert_ok();
    }
}

//! Responses of `/auth`, byte for byte: for gateways that pass error responses on, and for nginx, which cannot.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::schema::api_keys;
use gatepost::services::Operator;
use gatepost::services::tenants::{self, TenantChange};
use gatepost::store::notify::Change;
use reqwest::Method;
use serde_json::json;

use super::{mint, mint_as, plain, recorded, said, text};
use crate::support::TestApp;

/// Returns the rate headers of a key with the default limit after this number of calls.
fn rates(used: u64) -> String {
    let left = 1000 - used;
    format!("ratelimit-policy: \"key\";q=1000;w=3600\nratelimit: \"key\";r={left};t=<t>\n")
}

fn more_rates(used: u64) -> String {
    format!("x-ratelimit-limit: 1000\nx-ratelimit-remaining: {}\nx-ratelimit-reset: <reset>", 1000 - used)
}

#[actix_web::test]
async fn a_valid_key_passes_with_the_headers_for_the_api() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({"scopes": ["orders:read", "stock:*"]})).await;
    let answer =
        app.key(text(&key, "secret")).get("/auth?tenant=acme&scopes=orders:read&environment=live&cost=3").await;
    let identity = format!(
        "x-gatepost-environment: live\nx-gatepost-key-id: {}\nx-gatepost-scopes: orders:read stock:*\n\
         x-gatepost-tenant: acme\nx-gatepost-user: {}\n",
        text(&key, "key"),
        key["user_id"],
    );
    let expected = format!("200\ncache-control: no-store\n{}{identity}{}", rates(3), more_rates(3));
    assert_eq!(said(&app, &answer), expected);
    assert_eq!(answer.body, "");
    let again = app.key(text(&key, "secret")).get("/auth?nginx=1").await;
    let expected = format!("200\ncache-control: no-store\n{}x-auth-status: 200\n{identity}{}", rates(4), more_rates(4));
    assert_eq!(said(&app, &again), expected);
}

#[actix_web::test]
async fn missing_properties_of_a_key_become_empty_headers() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({"environment": "test"})).await;
    diesel::update(api_keys::table).set(api_keys::user_id.eq(None::<i64>)).execute(&mut app.conn()).unwrap();
    let answer = app.key(text(&key, "secret")).get("/auth").await;
    answer.assert_ok();
    // Empty headers are present too, since each overwrites a header that a client may have sent.
    assert!(answer.headers.contains_key("x-gatepost-user") && answer.headers.contains_key("x-gatepost-scopes"));
    assert_eq!((answer.header("x-gatepost-user"), answer.header("x-gatepost-scopes")), ("", ""));
    assert_eq!(answer.header("x-gatepost-environment"), "test");
}

#[actix_web::test]
async fn a_missing_key_and_an_unknown_key_are_401() {
    let app = TestApp::start().await;
    let challenge = "www-authenticate: Bearer realm=\"gatepost\"";
    let missing = format!(
        r#"
        401
        cache-control: no-store
        content-type: application/problem+json
        {challenge}

        {{"code":"api_key_required","detail":"API key required","instance":"/auth","request_id":"<id>","status":401,"title":"Unauthorized","type":"urn:gatepost:problem:api_key_required"}}
        "#
    );
    assert_eq!(said(&app, &app.stranger().get("/auth?tenant=acme").await), plain(&missing));
    let told_nginx = plain(&missing).replace(challenge, &format!("{challenge}\nx-auth-status: 401"));
    assert_eq!(said(&app, &app.stranger().get("/auth?nginx=1").await), told_nginx);
    let invalid = r#"
        401
        cache-control: no-store
        content-type: application/problem+json
        www-authenticate: Bearer realm="gatepost", error="invalid_token", error_description="Invalid API key"

        {"code":"invalid_api_key","detail":"Invalid API key","instance":"/auth/orders","request_id":"<id>","status":401,"title":"Unauthorized","type":"urn:gatepost:problem:invalid_api_key"}
    "#;
    assert_eq!(said(&app, &app.key("sk_made_up").get("/auth/orders?page=2").await), plain(invalid));
    let conflict = app.key("sk_one").with("x-api-secret", "sk_two").get("/auth").await;
    conflict.assert_problem(400, "conflicting_credentials");
    let conflict = app.key("sk_one").with("x-api-secret", "sk_two").get("/auth?nginx=1").await;
    conflict.assert_problem(403, "conflicting_credentials");
    assert_eq!(conflict.header("x-auth-status"), "400");
}

#[actix_web::test]
async fn an_expired_or_disabled_key_is_401_and_a_key_from_a_wrong_address_is_403() {
    let app = TestApp::start().await;
    let token = app.program().await;
    let soon = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    let key = mint_as(&token, json!({"expires_at": soon, "scopes": ["orders:read"]})).await;
    let far = mint_as(&token, json!({"allowed_ips": ["203.0.113.7"]})).await;
    let bare = mint_as(&token, json!({})).await;
    let holder = app.key(text(&key, "secret"));
    let path = format!("/api/keys/{}", key["id"]);

    holder.get("/auth?environment=test").await.assert_problem(403, "wrong_environment");
    app.key(text(&far, "secret")).get("/auth").await.assert_problem(403, "address_not_allowed");
    let none = app.key(text(&bare, "secret")).get("/auth?scopes=a").await;
    assert_eq!(none.assert_problem(403, "missing_scopes")["detail"], "API key has no scopes");
    let suspend = |is_active| {
        let change = TenantChange { is_active: Some(is_active), ..TenantChange::default() };
        app.tx(|tx| tenants::update(tx, &Operator::at_the_console(), app.tenant, change)).unwrap();
        app.running().state.hear(&Change::Tenant(app.tenant));
    };
    suspend(false);
    holder.get("/auth?tenant=acme").await.assert_problem(403, "tenant_suspended");
    suspend(true);
    token.post_json(format!("{path}/deactivation"), json!({})).await.assert_ok();
    holder.get("/auth").await.assert_problem(401, "api_key_disabled");
    token.post_json(format!("{path}/activation"), json!({})).await.assert_ok();
    app.advance(TimeDelta::minutes(5));
    let expired = holder.get("/auth?nginx=1").await;
    expired.assert_problem(401, "api_key_expired");
    assert_eq!(expired.header("x-auth-status"), "401");
}

#[actix_web::test]
async fn a_missing_scope_is_403_with_the_exact_body() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({"scopes": ["orders:read"]})).await;
    let holder = app.key(text(&key, "secret"));
    let body = r#"{"code":"missing_scopes","detail":"Missing required scopes: orders:write, stock:read","instance":"/auth","request_id":"<id>","status":403,"title":"Forbidden","type":"urn:gatepost:problem:missing_scopes"}"#;
    let head = "403\ncache-control: no-store\ncontent-type: application/problem+json";
    let challenge =
        r#"www-authenticate: Bearer realm="gatepost", error="insufficient_scope", scope="orders:write stock:read""#;
    let query = "scopes=orders:read,orders:write,stock:read";

    let expected = format!("{head}\n{}{challenge}\n{}\n\n{body}", rates(0), more_rates(0));
    assert_eq!(said(&app, &holder.get(format!("/auth?{query}")).await), expected);
    let expected = format!("{head}\n{}{challenge}\nx-auth-status: 403\n{}\n\n{body}", rates(0), more_rates(0));
    assert_eq!(said(&app, &holder.get(format!("/auth?nginx=1&{query}")).await), expected);
}

#[actix_web::test]
async fn a_call_over_the_limit_is_429_and_for_nginx_a_403_with_the_reason() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({"rate_limit": 1, "rate_window_seconds": 60})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get("/auth").await.assert_ok();
    let body = |status: u16| {
        let title = if status == 403 { "Forbidden" } else { "Too Many Requests" };
        format!(
            r#"{{"code":"rate_limited","detail":"Rate limit exceeded: try again in <t> seconds","instance":"/auth","request_id":"<id>","status":{status},"title":"{title}","type":"https://iana.org/assignments/http-problem-types#quota-exceeded","violated-policies":["key"]}}"#
        )
    };
    let rates = "ratelimit-policy: \"key\";q=1;w=60\nratelimit: \"key\";r=0;t=<t>\nretry-after: <t>";
    let more = "x-ratelimit-limit: 1\nx-ratelimit-remaining: 0\nx-ratelimit-reset: <reset>";
    let head = "cache-control: no-store\ncontent-type: application/problem+json";

    let expected = format!("429\n{head}\n{rates}\n{more}\n\n{}", body(429));
    assert_eq!(said(&app, &holder.get("/auth").await), expected);
    let expected = format!("403\n{head}\n{rates}\nx-auth-status: 429\n{more}\n\n{}", body(403));
    assert_eq!(said(&app, &holder.get("/auth?nginx=1").await), expected);
    let statuses: Vec<_> = recorded(&app).await.into_iter().map(|(_, _, status, outcome)| (status, outcome)).collect();
    let limited = || (429, "RATE_LIMITED".to_owned());
    assert_eq!(statuses, [(200, "VALID".to_owned()), limited(), limited()], "nginx's 403 is recorded as what it is");
}

#[actix_web::test]
async fn a_key_that_cannot_be_looked_up_is_503_and_a_known_one_still_passes() {
    let app = TestApp::start().await;
    let token = app.program().await;
    let (known, unknown) = (mint_as(&token, json!({})).await, mint_as(&token, json!({})).await);
    let (known, unknown) = (app.key(text(&known, "secret")), app.key(text(&unknown, "secret")));
    app.until_all_is_heard(&token).await;
    known.get("/auth?tenant=acme").await.assert_ok();
    app.database.cut();

    known.get("/auth?tenant=acme").await.assert_ok();
    // The named tenant cannot be looked up now, but the key belongs to another one, so it is refused.
    known.get("/auth?tenant=other").await.assert_problem(401, "invalid_api_key");
    let body = |status: u16| {
        let title = if status == 403 { "Forbidden" } else { "Service Unavailable" };
        format!(
            r#"{{"code":"unavailable","detail":"the service is not available just now: try again in a moment","instance":"/auth","request_id":"<id>","status":{status},"title":"{title}","type":"urn:gatepost:problem:unavailable"}}"#
        )
    };
    let head = "cache-control: no-store\ncontent-type: application/problem+json\nretry-after: 2";
    assert_eq!(said(&app, &unknown.get("/auth?tenant=acme").await), format!("503\n{head}\n\n{}", body(503)));
    let expected = format!("403\n{head}\nx-auth-status: 503\n\n{}", body(403));
    assert_eq!(said(&app, &unknown.get("/auth?nginx=1").await), expected);
}

#[actix_web::test]
async fn every_method_is_answered_and_the_body_is_ignored() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({})).await;
    let holder = app.key(text(&key, "secret"));
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "M-SEARCH"] {
        for path in ["/auth", "/auth/", "/auth/orders/7?page=2"] {
            let body = (method == "POST").then(|| ("text/csv", "x".repeat(300_000)));
            let answer = holder.send(Method::from_bytes(method.as_bytes()).unwrap(), path, body).await;
            answer.assert_ok();
            assert_eq!((answer.body.as_str(), answer.header("cache-control")), ("", "no-store"), "{method} {path}");
            let refused = app.stranger().send(Method::from_bytes(method.as_bytes()).unwrap(), path, None).await;
            assert_eq!((refused.status, refused.header("cache-control")), (401, "no-store"), "{method} {path}");
        }
    }
    app.stranger().get("/authors").await.assert_status(404);
}

#[actix_web::test]
async fn responses_set_no_security_headers_for_the_api_s_host() {
    let app = TestApp::start_with(&[("GATEPOST_PUBLIC_URL", "https://keys.example.com")]).await;
    for (path, is_page) in [("/auth", false), ("/auth/orders", false), ("/protected/", true), ("/authors", true)] {
        let answer = app.stranger().get(path).await;
        for header in ["strict-transport-security", "content-security-policy", "cross-origin-resource-policy"] {
            assert_eq!(answer.headers.contains_key(header), is_page, "{path}: {header}");
        }
    }
}

#[actix_web::test]
async fn a_browser_gets_the_same_response_as_a_program() {
    let app = TestApp::start().await;
    let refused = app.stranger().visit("/auth/orders").await;
    refused.assert_problem(401, "api_key_required");
}

/// Headers that may differ: those about Gatepost's own pages, added only by the routes, and those about the remaining
/// limit.
const DIFFERENT: [&str; 10] = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "permissions-policy",
    "ratelimit:",
    "referrer-policy",
    "x-content-type-options",
    "x-frame-options",
    "x-ratelimit-remaining",
    "x-robots-tag",
];

/// `/auth` is answered before routing, and other spellings of the path by the routes.
#[actix_web::test]
async fn auth_requests_get_the_same_response_before_and_after_routing() {
    let app = TestApp::start().await;
    let key = mint(&app, json!({"scopes": ["orders:read"], "rate_limit": 1000})).await;
    let (good, bad) = (app.key(text(&key, "secret")), app.key("sk_made_up"));
    let demanding = app.key(text(&key, "secret")).with("x-gatepost-require-cost", "1");
    let queries =
        ["", "?scopes=orders:read&nginx=1", "?scopes=a:b", "?tenant=nobody", "?cost=1001", "?cost=0&nginx=1", "?x"];
    for person in [&good, &bad, &app.stranger(), &demanding] {
        for query in queries {
            let mut both = Vec::new();
            for path in ["/auth", "/%61uth"] {
                let answer = person.send(Method::PUT, &format!("{path}{query}"), None).await;
                let said = said(&app, &answer).replace("/%61uth", "/auth");
                let same = said.lines().filter(|line| !DIFFERENT.iter().any(|name| line.starts_with(name)));
                both.push(same.map(str::to_owned).collect::<Vec<_>>());
            }
            assert_eq!(both[0], both[1], "{query}");
        }
    }
    let records = recorded(&app).await;
    assert!(records.chunks(2).all(|both| both[0].2 == both[1].2 && both[0].3 == both[1].3), "{records:?}");
}

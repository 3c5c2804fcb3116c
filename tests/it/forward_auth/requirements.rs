//! Requirements of gateways: in the query of `/auth`, in headers of `/auth/…`, and what happens if they cannot be met.

use gatepost::domain::{Role, UserId};
use serde_json::json;

use super::{mint, mint_as, text};
use crate::support::{Answer, Person, TestApp, secrets, statements};

const BEHIND_LOOPBACK: [(&str, &str); 1] = [("GATEPOST_TRUSTED_PROXIES", "127.0.0.1, ::1")];

/// Returns a program with all rights in another tenant, `other`.
async fn program_of_other_tenant(app: &TestApp) -> Person {
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, Role::Owner).await;
    Person::with_token(&app.base, &app.mint_token(UserId(eve.user_id), Some(other), &["*"]))
}

#[actix_web::test]
async fn only_keys_of_the_named_tenant_pass() {
    let app = TestApp::start().await;
    let ours = app.key(text(&mint(&app, json!({})).await, "secret"));
    let theirs = app.key(text(&mint_as(&program_of_other_tenant(&app).await, json!({})).await, "secret"));
    ours.get("/auth?tenant=acme").await.assert_ok();
    let refused = theirs.get("/auth?tenant=acme").await;
    // The response does not disclose if the key exists in another tenant.
    assert_eq!(refused.assert_problem(401, "invalid_api_key")["detail"], "Invalid API key");
    assert_eq!(refused.header("x-ratelimit-limit"), "", "nor where it stands");
    let any = theirs.get("/auth").await;
    assert_eq!(any.assert_ok().header("x-gatepost-tenant"), "other");
}

/// Returns status, headers and body of a response, without the parts that differ between requests.
fn comparable(answer: &Answer, asked: &str) -> String {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    let mut body: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    body["request_id"].take();
    format!("{} {headers:?} {body}", answer.status).replace(asked, "<tenant>")
}

/// Names each tenant in every way that a gateway can, for every kind of caller without a valid key of that tenant.
async fn answers(app: &TestApp, key: &Person, tenants: &[&str]) -> Vec<Vec<String>> {
    let revoked = secrets::unknown();
    let callers =
        [app.stranger(), app.key("junk"), app.key(&revoked), key.clone(), key.with("x-api-secret", "another")];
    let mut all = Vec::new();
    for (caller, form) in callers.iter().flat_map(|caller| (0..4).map(move |form| (caller, form))) {
        let mut same = Vec::new();
        for tenant in tenants {
            let answer = match form {
                0 => caller.get(format!("/auth?tenant={tenant}")).await,
                1 => caller.get(format!("/auth?nginx=1&tenant={tenant}")).await,
                2 => caller.get(format!("/auth?tenant={tenant}&scopes=orders:read&environment=test")).await,
                _ => caller.with("x-gatepost-require-tenant", tenant).get("/auth/orders").await,
            };
            same.push(comparable(&answer, tenant));
        }
        all.push(same);
    }
    all
}

#[actix_web::test]
async fn no_answer_tells_whether_a_tenant_exists() {
    let app = TestApp::start_with(&BEHIND_LOOPBACK).await;
    let theirs = app.key(text(&mint_as(&program_of_other_tenant(&app).await, json!({})).await, "secret"));
    let operator = app.operator("olga").await;
    let program = app.instance_token_of(&operator, &["*"]);
    for (slug, act) in [("paused", "suspension"), ("gone", "")] {
        let id = app.make_tenant(slug);
        match act {
            "" => program.delete(format!("/api/tenants/{id}")).await.assert_status(204).status,
            act => program.post_json(format!("/api/tenants/{id}/{act}"), json!({})).await.assert_ok().status,
        };
    }
    for same in answers(&app, &theirs, &["acme", "paused", "gone", "acne"]).await {
        assert!(same.iter().all(|answer| *answer == same[0]), "{same:#?}");
    }
}

#[actix_web::test]
async fn a_required_tenant_costs_no_sql_whether_it_exists_or_not() {
    statements::record();
    let app = TestApp::start_with(&[("GATEPOST_USAGE_FLUSH_MS", "10000"), BEHIND_LOOPBACK[0]]).await;
    let program = program_of_other_tenant(&app).await;
    let theirs = app.key(text(&mint_as(&program, json!({})).await, "secret"));
    app.until_all_is_heard(&program).await;
    let unknown = secrets::unknown();
    for key in [theirs.clone(), app.key(&unknown)] {
        key.get("/auth?tenant=acme").await.assert_status(401);
    }
    let before = statements::so_far();
    assert!(before.iter().any(|sql| sql.contains("api_keys")), "statements are recorded");

    for tenant in ["acme", "acne"] {
        for key in [theirs.clone(), app.key(&unknown), app.key("junk"), app.stranger()] {
            key.get(format!("/auth?tenant={tenant}")).await.assert_status(401);
            key.with("x-gatepost-require-tenant", tenant).get("/auth/x").await.assert_status(401);
        }
    }

    assert_eq!(statements::so_far()[before.len()..], [] as [String; 0]);
}

#[actix_web::test]
async fn keys_of_a_new_tenant_pass_at_once_even_if_it_was_required_before_it_existed() {
    let app = TestApp::start().await;
    let key = app.key(text(&mint(&app, json!({})).await, "secret"));
    key.get("/auth?tenant=acne").await.assert_problem(401, "invalid_api_key");
    let acne = app.make_tenant("acne");
    let eve = app.person("eve", acne, Role::Owner).await;
    let eve = Person::with_token(&app.base, &app.mint_token(UserId(eve.user_id), Some(acne), &["*"]));
    let theirs = mint_as(&eve, json!({})).await;
    app.key(text(&theirs, "secret")).get("/auth?tenant=acne").await.assert_ok();
}

#[actix_web::test]
async fn an_invalid_requirement_lets_no_request_through() {
    let app = TestApp::start().await;
    let key = app.key(text(&mint(&app, json!({"scopes": ["*"]})).await, "secret"));
    for (query, field) in [
        ("tenant=", "tenant"),
        ("tenant=Not%20a%20slug", "tenant"),
        ("tenant=acme&tenant=other", "tenant"),
        ("scopes=", "scopes"),
        ("scopes=a;b", "scopes[0]"),
        ("scope=a", "scope"),
        ("environment=production", "environment"),
        ("cost=0", "cost"),
        ("cost=-1", "cost"),
        ("cost=1e3", "cost"),
        ("cost=1000001", "cost"),
        ("nginx=true", "nginx"),
        ("page=2", "page"),
    ] {
        let answer = key.get(format!("/auth?{query}")).await;
        let is_for_nginx = query.starts_with("nginx");
        let problem = if is_for_nginx { answer.assert_problem(403, "invalid") } else { answer.assert_invalid(field) };
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        // Refused before the key is looked up, so nothing was counted.
        assert_eq!(answer.header("x-ratelimit-limit"), "", "{query}");
    }
    assert_eq!(key.get("/auth").await.assert_ok().header("x-ratelimit-remaining"), "999");
}

#[actix_web::test]
async fn a_cost_is_counted_completely_or_not_at_all() {
    let app = TestApp::start().await;
    let key = app.key(text(&mint(&app, json!({"rate_limit": 10})).await, "secret"));
    assert_eq!(key.get("/auth?cost=8").await.assert_ok().header("x-ratelimit-remaining"), "2");
    let refused = key.get("/auth?cost=3").await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!(refused.header("x-ratelimit-remaining"), "2");
    assert_eq!(key.get("/auth?cost=2").await.assert_ok().header("x-ratelimit-remaining"), "0");
}

#[actix_web::test]
async fn below_auth_only_headers_of_a_trusted_proxy_set_requirements() {
    let app = TestApp::start_with(&BEHIND_LOOPBACK).await;
    let key = app.key(text(&mint(&app, json!({"scopes": ["orders:read"]})).await, "secret"));
    key.get("/auth/orders?tenant=other&cost=0&scopes=admin&nginx=1").await.assert_ok();
    let with = |name, value| key.with(name, value);
    with("x-gatepost-require-tenant", "acme").get("/auth/orders").await.assert_ok();
    with("x-gatepost-require-scopes", "orders:read").get("/auth/").await.assert_ok();
    let refused = with("x-gatepost-require-scopes", "orders:read, orders:write").get("/auth/orders").await;
    refused.assert_problem(403, "missing_scopes");
    with("x-gatepost-require-environment", "test").get("/auth/x").await.assert_problem(403, "wrong_environment");
    with("x-gatepost-require-cost", "1001").get("/auth/x").await.assert_problem(429, "rate_limited");
    for (name, value, field) in [
        ("x-gatepost-require-tenant", "", "X-Gatepost-Require-Tenant"),
        ("x-gatepost-require-scopes", " ", "X-Gatepost-Require-Scopes"),
        ("x-gatepost-require-environment", "moon", "X-Gatepost-Require-Environment"),
        ("x-gatepost-require-cost", "0", "X-Gatepost-Require-Cost"),
        ("x-gatepost-require-scope", "orders:read", "x-gatepost-require-scope"),
    ] {
        with(name, value).get("/auth/orders").await.assert_invalid(field);
    }
}

#[actix_web::test]
async fn requirements_from_an_untrusted_sender_are_refused() {
    let app = TestApp::start().await;
    let key = app.key(text(&mint(&app, json!({"scopes": ["orders:read"]})).await, "secret"));
    for (name, value) in [
        ("x-gatepost-require-tenant", "acme"),
        ("x-gatepost-require-scopes", "orders:read"),
        ("x-gatepost-require-cost", "1"),
        ("x-gatepost-require-environment", "live"),
        ("x-gatepost-require-anything", "x"),
    ] {
        // Ignoring these headers would let every request through an Envoy that is not configured as trusted.
        let answer = key.with(name, value).get("/auth/orders").await;
        let detail = answer.assert_problem(403, "untrusted_proxy")["detail"].clone();
        assert!(detail.as_str().unwrap().contains("127.0.0.1"), "{detail}");
        assert_eq!(answer.header("x-ratelimit-limit"), "", "the key was not looked at");
        // A client can easily claim that a trusted proxy forwarded its request.
        let forged = key.with(name, value).with("x-forwarded-for", "127.0.0.1");
        forged.get("/auth/orders").await.assert_problem(403, "untrusted_proxy");
    }
    key.get("/auth/orders").await.assert_ok();
}

#[actix_web::test]
async fn requirements_in_headers_of_auth_itself_are_refused_from_every_sender() {
    for settings in [&[][..], &BEHIND_LOOPBACK[..]] {
        let app = TestApp::start_with(settings).await;
        let key = app.key(text(&mint(&app, json!({})).await, "secret"));
        let answer = key.with("x-gatepost-require-scopes", "admin").get("/auth?tenant=acme").await;
        answer.assert_invalid("X-Gatepost-Require-Scopes");
        key.get("/auth?tenant=acme").await.assert_ok();
    }
}

#[actix_web::test]
async fn a_key_in_the_original_request_s_query_counts_only_where_allowed() {
    for (is_allowed, status) in [("true", 200), ("false", 401)] {
        let app = TestApp::start_with(&[("GATEPOST_ALLOW_QUERY_KEY", is_allowed)]).await;
        let secret = text(&mint(&app, json!({})).await, "secret").to_owned();
        let uri = format!("/orders?page=2&api_key={secret}");
        let nobody = app.stranger();
        nobody.with("x-forwarded-uri", &uri).get("/auth?tenant=acme").await.assert_status(status);
        nobody.with("x-original-uri", &uri).get("/auth?tenant=acme&nginx=1").await.assert_status(status);
        nobody.get(format!("/auth{uri}")).await.assert_status(status);
        nobody.get(format!("/auth?api_key={secret}")).await.assert_status(status);
        let elsewhere = nobody.with("x-forwarded-uri", "/orders?key=sk_1&api_key=").get("/auth").await;
        elsewhere.assert_problem(401, "api_key_required");
    }
}

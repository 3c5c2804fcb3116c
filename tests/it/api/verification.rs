//! `/api/keys/verification`: the gate's decision as JSON.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Answer, Person, TestApp};

const VERIFICATION: &str = "/api/keys/verification";

async fn code(token: &Person, body: Value) -> String {
    let verdict = token.post_json(VERIFICATION, body).await.assert_ok().json();
    assert_eq!(verdict["valid"], verdict["code"] == "VALID");
    text(&verdict, "code").to_owned()
}

#[actix_web::test]
async fn a_valid_key_is_shown_with_its_limit_and_headers() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"scopes": ["a", "b"]})).await;
    let body = json!({"key": key["secret"], "scopes": ["a"], "ip": "203.0.113.7", "environment": "live", "cost": 4, "endpoint": "/orders", "method": "get"});
    let verdict = token.post_json(VERIFICATION, body).await.assert_ok().json();
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(true), &json!("VALID")));
    assert_eq!(verdict["key"]["id"], key["id"]);
    assert!(verdict["key"].get("secret").is_none() && !text(&verdict, "request_id").is_empty());
    let limit = &verdict["rate_limit"];
    assert_eq!(
        (&limit["limit"], &limit["remaining"], &limit["window_seconds"]),
        (&json!(1000), &json!(996), &json!(3600))
    );
    assert_eq!(verdict["quota"], Value::Null);
    assert_eq!(verdict["headers"]["X-RateLimit-Remaining"], "996");
    assert!(verdict["headers"].get("Retry-After").is_none());
    let usage = token.get(path(&key, "/usage")).await.assert_ok().json();
    assert_eq!(usage["by_endpoint"], json!([{"endpoint": "/orders", "total": 1}]));
}

#[actix_web::test]
async fn every_outcome_has_its_code() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let soon = (app.clock.now() + TimeDelta::seconds(60)).to_rfc3339();
    let key =
        mint(&token, json!({"scopes": ["a"], "allowed_ips": ["203.0.113.0/24"], "expires_at": soon, "rate_limit": 10}))
            .await;
    let secret = &key["secret"];
    let ip = "203.0.113.7";
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "VALID");
    assert_eq!(code(&token, json!({"key": key["key"], "secret": secret, "ip": ip})).await, "VALID");
    assert_eq!(
        code(&token, json!({"key": "pk_0000000000000000000000", "secret": secret, "ip": ip})).await,
        "NOT_FOUND"
    );
    assert_eq!(code(&token, json!({"key": "junk"})).await, "MALFORMED");
    assert_eq!(code(&token, json!({"key": key["key"]})).await, "MALFORMED", "an id is no secret");
    assert_eq!(code(&token, json!({"key": secret})).await, "IP_NOT_ALLOWED");
    assert_eq!(code(&token, json!({"key": secret, "ip": ip, "environment": "test"})).await, "WRONG_ENVIRONMENT");
    assert_eq!(code(&token, json!({"key": secret, "ip": ip, "scopes": ["a", "b"]})).await, "INSUFFICIENT_SCOPE");
    assert_eq!(code(&token, json!({"key": secret, "ip": ip, "cost": 9})).await, "RATE_LIMITED");
    assert_eq!(code(&token, json!({"key": secret, "ip": ip, "cost": 8})).await, "VALID");
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "RATE_LIMITED");
    token.post_json(path(&key, "/deactivation"), json!({})).await.assert_ok();
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "DISABLED");
    app.advance(TimeDelta::seconds(60));
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "EXPIRED");
    token.post_json(path(&key, "/revocation"), json!({})).await.assert_ok();
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "REVOKED");
    token.delete(path(&key, "")).await.assert_status(204);
    assert_eq!(code(&token, json!({"key": secret, "ip": ip})).await, "NOT_FOUND");
}

#[actix_web::test]
async fn a_dry_run_counts_against_no_limit() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 1})).await;
    for _ in 0..3 {
        assert_eq!(code(&token, json!({"key": key["secret"], "dry_run": true})).await, "VALID");
    }
    assert_eq!(code(&token, json!({"key": key["secret"], "dry_run": true, "cost": 2})).await, "RATE_LIMITED");
    assert_eq!(code(&token, json!({"key": key["secret"]})).await, "VALID");
    assert_eq!(token.get(path(&key, "/usage")).await.json()["total"], 1);
}

#[actix_web::test]
async fn an_invalid_field_is_refused_by_name() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let wrong = [
        (json!({}), "key"),
        (json!({"key": 7}), "key"),
        (json!({"key": "x", "cost": 0}), "cost"),
        (json!({"key": "x", "cost": -1}), "cost"),
        (json!({"key": "x", "cost": 1_000_001}), "cost"),
        (json!({"key": "x", "cost": u64::MAX}), "cost"),
        (json!({"key": "x", "cost": 1e300}), "cost"),
        (json!({"key": "x", "cost": 1.5}), "cost"),
        (json!({"key": "x", "cost": "1"}), "cost"),
        (json!({"key": "x", "ip": ""}), "ip"),
        (json!({"key": "x", "ip": "203.0.113.7:443"}), "ip"),
        (json!({"key": "x", "ip": "203.0.113.0/24"}), "ip"),
        (json!({"key": "x", "ip": "203.0.113.07"}), "ip"),
        (json!({"key": "x", "dry_run": 1}), "dry_run"),
        (json!({"key": "x", "endpoint": 7}), "endpoint"),
        (json!({"key": "x", "method": ""}), "method"),
        (json!({"key": "x", "method": "GET /orders"}), "method"),
        (json!({"key": "x", "method": "x".repeat(21)}), "method"),
        (json!({"key": "x", "scopes": "a"}), "scopes"),
        (json!({"key": "x", "scopes": vec!["a"; 101]}), "scopes"),
        (json!({"key": "x", "ip": "here"}), "ip"),
        (json!({"key": "x", "environment": "moon"}), "environment"),
        (json!({"key": "x", "scopes": ["a b"]}), "scopes[0]"),
        (json!({"key": "x", "colour": "red"}), "colour"),
    ];
    for (body, field) in wrong {
        token.post_json(VERIFICATION, body).await.assert_invalid(field);
    }
    app.stranger().post_json(VERIFICATION, json!({"key": "x"})).await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn an_address_matches_in_every_spelling() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let listed = ["203.0.113.0/24", "::ffff:192.0.2.7", "2001:db8::/32"];
    let key = mint(&token, json!({"allowed_ips": listed})).await;
    for ip in ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:cb00:7107", "192.0.2.7", "2001:db8::1", "2001:0DB8:0:0::1"]
    {
        assert_eq!(code(&token, json!({"key": key["secret"], "ip": ip})).await, "VALID", "{ip}");
    }
    for ip in ["198.51.100.1", "::ffff:198.51.100.1", "::203.0.113.7", "2001:db9::1"] {
        assert_eq!(code(&token, json!({"key": key["secret"], "ip": ip})).await, "IP_NOT_ALLOWED", "{ip}");
    }
    for nobody in [json!({"key": key["secret"]}), json!({"key": key["secret"], "ip": null})] {
        assert_eq!(code(&token, nobody).await, "IP_NOT_ALLOWED");
    }
}

#[actix_web::test]
async fn an_endpoint_is_recorded_without_its_query() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    for endpoint in ["/orders?api_key=sk_1", "https://api.example.com/orders#x", " /orders ", "/ord\u{7}ers"] {
        assert_eq!(
            code(&token, json!({"key": key["secret"], "endpoint": endpoint, "method": "m-search"})).await,
            "VALID"
        );
    }
    for endpoint in [json!(""), json!("?a=b"), json!(null)] {
        assert_eq!(code(&token, json!({"key": key["secret"], "endpoint": endpoint})).await, "VALID");
    }
    let usage = token.get(path(&key, "/usage")).await.assert_ok().json();
    let expected = json!([{"endpoint": "/orders", "total": 4}, {"endpoint": "/api/keys/verification", "total": 3}]);
    assert_eq!(usage["by_endpoint"], expected);
}

#[actix_web::test]
async fn an_instance_token_verifies_keys_of_every_tenant() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let olga = app.operator("olga").await;
    let token = app.instance_token_of(&olga, &["keys:verify"]);
    app.make_tenant("other");
    assert_eq!(code(&token, json!({"key": key["secret"]})).await, "VALID");
    assert_eq!(code(&token, json!({"key": key["secret"], "tenant": "acme"})).await, "VALID");
    assert_eq!(code(&token, json!({"key": key["secret"], "tenant": "other"})).await, "NOT_FOUND");
    token
        .post_json(VERIFICATION, json!({"key": key["secret"], "tenant": "nobody"}))
        .await
        .assert_problem(404, "not_found");
}

/// `/api/keys/verification` is answered before routing, and its alternative paths by the routes.
#[actix_web::test]
async fn verifications_get_the_same_response_before_and_after_routing() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 1000})).await;
    let (secret, json) = (text(&key, "secret"), "application/json");
    let asked = json!({"key": secret, "dry_run": true}).to_string();
    let weak = app.token_of(&app.viewer("weak").await, &["keys:read"]);
    let bodies = [
        (json, asked.clone()),
        ("application/x-www-form-urlencoded", asked.clone()),
        ("text/plain", asked.clone()),
        (json, json!({"key": "sk_made_up"}).to_string()),
        (json, json!({"key": secret, "cost": 0}).to_string()),
        (json, json!({"key": secret, "colour": 1}).to_string()),
        (json, json!({"key": secret, "tenant": "nobody"}).to_string()),
        (json, String::new()),
        (json, "{".to_owned()),
        (json, format!("{asked}{}", " ".repeat(300_000))),
        (json, "[".repeat(1_000)),
    ];
    for person in [&token, &weak, &app.stranger(), &Person::with_token(&app.base, "gpat_made_up")] {
        for (kind, body) in &bodies {
            let ask = |path: &'static str| person.send(Method::POST, path, Some((kind, body.clone())));
            let (direct, routed) = (ask(VERIFICATION).await, ask("/api/keys/verify").await);
            let said = |answer: &Answer| {
                let mut said = answer.json();
                for changing in ["request_id", "instance"] {
                    assert!(said.as_object_mut().unwrap().remove(changing).is_some() || changing == "instance");
                }
                (answer.status, answer.header("content-type").to_owned(), said)
            };
            assert_eq!(said(&direct), said(&routed), "{kind} {body:.80}");
            assert_eq!(direct.header("x-content-type-options"), "nosniff");
            assert_eq!(direct.header("cache-control"), routed.header("cache-control"));
        }
    }
    token.get(VERIFICATION).await.assert_problem(405, "method_not_allowed");
}

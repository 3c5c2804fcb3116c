//! `/api/keys/verifications`: up to a hundred decisions in one request, each equal to a single verification.

use diesel::prelude::*;
use gatepost::domain::{Role, UserId};
use gatepost::model::usage_log::usage_logs;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Person, TestApp};

const VERIFICATIONS: &str = "/api/keys/verifications";

async fn verify(token: &Person, items: Value) -> Vec<Value> {
    let answer = token.post_json(VERIFICATIONS, json!({"verifications": items})).await;
    answer.assert_ok().json()["data"].as_array().unwrap().clone()
}

fn codes(results: &[Value]) -> Vec<&str> {
    for result in results {
        assert_eq!(result["valid"], result["code"] == "VALID");
    }
    results.iter().map(|result| text(result, "code")).collect()
}

#[actix_web::test]
async fn each_verification_gets_its_own_result_in_order() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"scopes": ["a"], "rate_limit": 3})).await;
    let other = mint(&token, json!({"environment": "test"})).await;
    let secret = &key["secret"];

    let results = verify(
        &token,
        json!([
            {"key": secret, "scopes": ["a"], "endpoint": "/orders?page=2", "method": "get", "cost": 2},
            {"key": key["key"]},
            {"key": other["key"], "secret": other["secret"], "environment": "live"},
            {"key": secret, "scopes": ["b"]},
            {"key": secret, "dry_run": true, "cost": 2},
            {"api_key": secret},
            {"key": secret},
            {"key": "pk_0000000000000000000000", "secret": secret},
        ]),
    )
    .await;

    assert_eq!(
        codes(&results),
        [
            "VALID",
            "MALFORMED",
            "WRONG_ENVIRONMENT",
            "INSUFFICIENT_SCOPE",
            "RATE_LIMITED",
            "VALID",
            "RATE_LIMITED",
            "NOT_FOUND"
        ]
    );
    let left: Vec<_> = results.iter().map(|result| result["rate_limit"]["remaining"].clone()).collect();
    assert_eq!(left, [json!(1), Value::Null, json!(1000), json!(1), json!(1), json!(0), json!(0), Value::Null]);
    assert_eq!(results[3]["missing_scopes"], json!(["b"]));
    assert_eq!((&results[0]["key"]["id"], &results[2]["key"]["id"]), (&key["id"], &other["id"]));
    assert_eq!(results[6]["headers"]["X-RateLimit-Remaining"], "0");
    // Except for times, a single verification returns the same.
    let alone = token.post_json("/api/keys/verification", json!({"key": "sk_junk"})).await.assert_ok().json();
    let shape = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(shape(&alone), shape(&results[1]));
}

#[actix_web::test]
async fn each_verification_is_recorded_except_dry_runs() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 2})).await;
    let secret = &key["secret"];
    let results = verify(
        &token,
        json!([
            {"key": secret, "endpoint": "/a", "method": "put", "ip": "::ffff:203.0.113.7"},
            {"key": secret, "endpoint": "/b", "dry_run": true},
            {"key": secret, "endpoint": "/c"},
            {"key": secret, "endpoint": "/d"},
        ]),
    )
    .await;
    assert_eq!(codes(&results), ["VALID", "VALID", "VALID", "RATE_LIMITED"]);
    app.running().state.gate.flush().await;
    type Row = (String, String, i16, Option<String>, String);
    let rows: Vec<Row> = usage_logs::table
        .order(usage_logs::id)
        .select((usage_logs::endpoint, usage_logs::method, usage_logs::status, usage_logs::ip, usage_logs::request_id))
        .load(&mut app.conn())
        .unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.4.clone()).collect();
    let short: Vec<_> = rows.iter().map(|row| (row.0.as_str(), row.1.as_str(), row.2, row.3.as_deref())).collect();
    let expected = [("/a", "PUT", 200, Some("203.0.113.7")), ("/c", "POST", 200, None), ("/d", "POST", 429, None)];
    assert_eq!(short, expected);
    assert!(ids.iter().all(|id| *id == text(&results[0], "request_id")), "{ids:?}");
    assert_eq!(token.get(path(&key, "/usage")).await.json()["total"], 3);
}

#[actix_web::test]
async fn an_invalid_field_is_refused_by_name_and_nothing_is_counted() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let good = json!({"key": key["secret"]});
    for (bad, field) in [
        (json!({}), "key"),
        (json!({"key": 7}), "key"),
        (json!({"key": "x", "cost": 0}), "cost"),
        (json!({"key": "x", "cost": 1_000_001}), "cost"),
        (json!({"key": "x", "cost": -1}), "cost"),
        (json!({"key": "x", "ip": "203.0.113.7:80"}), "ip"),
        (json!({"key": "x", "environment": "moon"}), "environment"),
        (json!({"key": "x", "scopes": ["a", "b c"]}), "scopes[1]"),
        (json!({"key": "x", "method": "GET /"}), "method"),
        (json!({"key": "x", "dry_run": "yes"}), "dry_run"),
        (json!({"key": "x", "tenant": "nobody"}), "tenant"),
        (json!({"key": "x", "tenant": "\u{0}"}), "tenant"),
        (json!({"key": "x", "tenant_id": 4242}), "tenant_id"),
        (json!({"key": "x", "colour": "red"}), "colour"),
    ] {
        let body = json!({"verifications": [good, good, good, bad]});
        token.post_json(VERIFICATIONS, body).await.assert_invalid(&format!("verifications[3].{field}"));
    }
    let two = json!({"verifications": [{"key": "x", "cost": 0}, good, {"key": "x", "scopes": [""]}]});
    let problem = token.post_json(VERIFICATIONS, two).await.assert_invalid("verifications[0].cost");
    assert_eq!(problem["errors"][1]["field"], "verifications[2].scopes[0]");
    for wrong in [json!([]), json!(vec![good.clone(); 101]), json!({}), json!(null)] {
        token.post_json(VERIFICATIONS, json!({"verifications": wrong})).await.assert_invalid("verifications");
    }
    token.post_json(VERIFICATIONS, json!({})).await.assert_invalid("verifications");
    let all = verify(&token, json!(vec![good; 100])).await;
    assert_eq!((all.len(), &all[99]["rate_limit"]["remaining"]), (100, &json!(900)), "only these were counted");
}

#[actix_web::test]
async fn a_tenant_s_token_verifies_its_own_keys_and_an_instance_token_all() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let ours = mint(&token, json!({})).await;
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, Role::Owner).await;
    let eve = Person::with_token(&app.base, &app.mint_token(UserId(eve.user_id), Some(other), &["*"]));
    let theirs = mint(&eve, json!({})).await;
    let both = json!([{"key": ours["secret"]}, {"key": theirs["secret"]}]);

    assert_eq!(codes(&verify(&token, both.clone()).await), ["VALID", "NOT_FOUND"]);
    assert_eq!(codes(&verify(&eve, both.clone()).await), ["NOT_FOUND", "VALID"]);
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["keys:verify"]);
    assert_eq!(codes(&verify(&instance, both).await), ["VALID", "VALID"]);
    let named = json!([
        {"key": ours["secret"], "tenant": "acme"},
        {"key": ours["secret"], "tenant": "other"},
        {"key": theirs["secret"], "tenant_id": other},
    ]);
    assert_eq!(codes(&verify(&instance, named.clone()).await), ["VALID", "NOT_FOUND", "VALID"]);
    // A tenant's token cannot use other tenants.
    let refused = token.post_json(VERIFICATIONS, json!({"verifications": named})).await;
    refused.assert_invalid("verifications[1].tenant");
    let unable = app.instance_token_of(&olga, &["keys:read"]);
    let body = json!({"verifications": [{"key": "x"}]});
    unable.post_json(VERIFICATIONS, body.clone()).await.assert_problem(403, "forbidden");
    app.stranger().post_json(VERIFICATIONS, body).await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn if_one_verification_cannot_be_decided_none_is_counted() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (known, unknown) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    let known = json!({"key": known["secret"]});
    app.until_all_is_heard(&token).await;
    verify(&token, json!([known])).await;
    app.database.cut();
    let body = json!({"verifications": [known, {"key": unknown["secret"]}]});
    token.post_json(VERIFICATIONS, body).await.assert_problem(503, "unavailable");
    let after = verify(&token, json!([known])).await;
    assert_eq!(after[0]["rate_limit"]["remaining"], 998, "the one before the fall and this one");
}

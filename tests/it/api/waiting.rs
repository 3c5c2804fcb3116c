//! Refused calls: they name a time to wait only if waiting helps.

use serde_json::{Value, json};

use super::{admin, mint, text};
use crate::support::{Answer, Person, TestApp};

/// Presents the key to its own routes, to `/auth` and in a verification, and returns the responses.
async fn refused(app: &TestApp, token: &Person, key: &Value, cost: u64) -> Vec<Answer> {
    let holder = app.key(text(key, "secret"));
    let mut answers = vec![holder.get(format!("/auth?cost={cost}")).await];
    if cost == 1 {
        answers.push(holder.get("/api/data").await);
        answers.push(holder.get("/protected/").await);
    }
    for answer in &answers {
        answer.assert_status(429);
    }
    let body = json!({"key": key["secret"], "cost": cost});
    answers.push(token.post_json("/api/keys/verification", body.clone()).await);
    let batch = token.post_json("/api/keys/verifications", json!({"verifications": [body]})).await;
    assert_eq!(batch.assert_ok().json()["data"][0]["valid"], json!(false), "{}", batch.body);
    answers.push(batch);
    answers
}

fn assert_no_wait(answers: &[Answer]) {
    for answer in answers {
        assert_eq!(answer.header("retry-after"), "", "{}", answer.body);
        assert!(!answer.body.contains("try again") && !answer.body.contains("Retry-After"), "{}", answer.body);
    }
}

#[actix_web::test]
async fn a_quota_that_is_never_filled_again_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"quota": {"limit": 1}})).await;
    app.key(text(&key, "secret")).get("/api/data").await.assert_ok();
    let answers = refused(&app, &token, &key, 1).await;
    assert_no_wait(&answers);
    assert!(answers[0].body.contains("is not refilled"), "{}", answers[0].body);
}

#[actix_web::test]
async fn a_quota_that_is_filled_again_tells_the_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"quota": {"limit": 1, "refill": "daily"}})).await;
    app.key(text(&key, "secret")).get("/api/data").await.assert_ok();
    let answer = app.key(text(&key, "secret")).get("/api/data").await;
    let seconds: u64 = answer.assert_status(429).header("retry-after").parse().unwrap();
    assert!(seconds <= 86_401 && answer.body.contains(&format!("try again in {seconds} seconds")), "{}", answer.body);
}

#[actix_web::test]
async fn a_call_that_costs_more_than_a_limit_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 5})).await;
    assert_no_wait(&refused(&app, &token, &key, 6).await);
}

#[actix_web::test]
async fn a_call_that_costs_more_than_a_whole_quota_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"quota": {"limit": 5, "refill": "daily"}})).await;
    assert_no_wait(&refused(&app, &token, &key, 6).await);
}

#[actix_web::test]
async fn a_rate_limit_tells_when_a_call_fits() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 1})).await;
    app.key(text(&key, "secret")).get("/api/data").await.assert_ok();
    for answer in &refused(&app, &token, &key, 1).await[..3] {
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!(0 < seconds && answer.body.contains(&format!("try again in {seconds} seconds")), "{}", answer.body);
    }
}

#[actix_web::test]
async fn a_key_that_is_revoked_or_expired_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    token.post_json(format!("/api/keys/{}/revocation", key["id"]), json!({})).await.assert_ok();
    let holder = app.key(text(&key, "secret"));
    for path in ["/api/data", "/auth", "/protected/"] {
        let answer = holder.get(path).await;
        assert_no_wait(std::slice::from_ref(answer.assert_status(401)));
    }
}

#[actix_web::test]
async fn the_limit_of_a_plan_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let (ada, grace) = (app.admin("ada").await, app.operator("grace").await);
    let program = app.instance_token_of(&grace, &["*"]);
    program.patch_json(format!("/api/tenants/{}", app.tenant), json!({"plan": "free"})).await.assert_ok();
    program.patch_json("/api/plans/free", json!({"max_keys": 0, "max_webhooks": 0})).await.assert_ok();
    let token = app.token_of(&ada, &["*"]);
    let hook = json!({"url": "https://example.com/", "events": ["a.b"]});
    for (path, body) in [("/api/keys", json!({"name": "ci"})), ("/api/webhooks", hook)] {
        let answer = token.post_json(path, body).await;
        answer.assert_problem(409, "limit_reached");
        assert_no_wait(&[answer]);
    }
}

/// Creates a key with one call per window, and uses this call.
async fn used_once(app: &TestApp, token: &Person, mut settings: Value) -> Value {
    settings["rate_limit"] = json!(1);
    let key = mint(token, settings).await;
    app.key(text(&key, "secret")).get("/api/data").await.assert_ok();
    key
}

#[actix_web::test]
async fn a_quota_that_is_used_up_for_good_beside_a_rate_limit_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = used_once(&app, &token, json!({"quota": {"limit": 1}})).await;
    let answers = refused(&app, &token, &key, 1).await;
    assert_no_wait(&answers);
    let problem = answers[0].assert_problem(429, "quota_exceeded");
    assert_eq!(problem["violated-policies"], json!(["key", "quota"]));
    assert!(answers[0].body.contains("is not refilled"), "{}", answers[0].body);
    assert_eq!(answers[3].json()["code"], "QUOTA_EXCEEDED");
}

#[actix_web::test]
async fn when_rate_limit_and_quota_both_refuse_the_longer_wait_is_given() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (window, refill) in [(60, "daily"), (2_592_000, "daily")] {
        let quota = json!({"limit": 1, "refill": refill});
        let key = used_once(&app, &token, json!({"rate_window_seconds": window, "quota": quota})).await;
        let answer = app.key(text(&key, "secret")).get("/api/data").await;
        let wait: i64 = answer.assert_status(429).header("retry-after").parse().unwrap();
        let now = app.clock.now();
        let midnight = now.date_naive().succ_opt().unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
        let longer = (midnight - now).num_seconds().max(window);
        assert!((longer - 2..=longer + 2).contains(&wait), "{wait} instead of {longer}");
    }
}

#[actix_web::test]
async fn a_rate_limit_beside_a_quota_with_enough_left_tells_its_own_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = used_once(&app, &token, json!({"rate_window_seconds": 60, "quota": {"limit": 5}})).await;
    let answer = app.key(text(&key, "secret")).get("/api/data").await;
    assert_eq!(answer.assert_problem(429, "rate_limited")["violated-policies"], json!(["key"]));
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[actix_web::test]
async fn a_key_that_expires_before_the_wait_is_over_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let soon = (app.clock.now() + chrono::TimeDelta::minutes(30)).to_rfc3339();
    let limited = json!({"rate_window_seconds": 3_600, "expires_at": soon});
    let rare = json!({"rate_window_seconds": 60, "quota": {"limit": 1, "refill": "monthly"}, "expires_at": soon});
    for settings in [limited, rare] {
        let key = used_once(&app, &token, settings).await;
        let answers = refused(&app, &token, &key, 1).await;
        assert_no_wait(&answers);
        assert!(answers[0].body.contains("expires before"), "{}", answers[0].body);
    }
}

#[actix_web::test]
async fn a_replaced_key_whose_overlap_ends_before_the_wait_tells_no_time_to_wait() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = used_once(&app, &token, json!({"rate_window_seconds": 3_600})).await;
    let rotation = json!({"overlap_seconds": 60});
    token.post_json(format!("/api/keys/{}/rotation", key["id"]), rotation).await.assert_status(201);
    assert_no_wait(&refused(&app, &token, &key, 1).await);
}

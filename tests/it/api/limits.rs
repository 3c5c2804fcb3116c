//! Several limits, limits shared by an owner's keys, and quotas.

use std::sync::Arc;

use chrono::TimeDelta;
use gatepost::gate::{Credential, VerificationRequest};
use serde_json::{Value, json};

use super::gate::restart;
use super::{admin, mint, path, text};
use crate::support::{Person, TestApp};

async fn verify(token: &Person, key: &Value, extra: Value) -> Value {
    let mut body = json!({"key": key["secret"]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    token.post_json("/api/keys/verification", body).await.assert_ok().json()
}

async fn code(token: &Person, key: &Value) -> String {
    text(&verify(token, key, json!({})).await, "code").to_owned()
}

#[actix_web::test]
async fn a_call_counts_against_all_limits_or_none() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let burst = json!({"name": "burst", "limit": 2, "window_seconds": 60});
    let key = mint(&token, json!({"rate_limit": 10, "limits": [burst]})).await;
    assert_eq!(key["limits"], json!([{"name": "burst", "limit": 2, "window_seconds": 60, "per": "key"}]));
    let holder = app.key(text(&key, "secret"));

    let allowed = holder.get("/protected/").await;
    assert_eq!(allowed.header("ratelimit-policy"), "\"key\";q=10;w=3600, \"burst\";q=2;w=60");
    assert_eq!(allowed.header("x-ratelimit-remaining"), "1");
    let too_dear = verify(&token, &key, json!({"cost": 2})).await;
    assert_eq!(too_dear["code"], "RATE_LIMITED");
    let remaining = |answer: &Value| {
        let limits = answer["rate_limits"].as_array().unwrap().iter();
        limits.map(|one| (text(one, "name").to_owned(), one["remaining"].as_i64().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(remaining(&too_dear), [("key".into(), 9), ("burst".into(), 1)], "a refused call costs nothing");
    holder.get("/protected/").await.assert_ok();
    let refused = holder.get("/protected/").await;
    assert_eq!(refused.assert_problem(429, "rate_limited")["violated-policies"], json!(["burst"]));
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    app.advance(TimeDelta::seconds(wait));
    assert_eq!(verify(&token, &key, json!({"dry_run": true})).await["code"], "VALID");
    // On a busy machine, the second call may be later than the first by more than the rounding of the wait.
    app.advance(TimeDelta::seconds(62 - wait));
    assert_eq!(remaining(&verify(&token, &key, json!({})).await), [("key".into(), 7), ("burst".into(), 1)]);
}

#[actix_web::test]
async fn keys_of_an_owner_share_the_owner_s_limit() {
    let mut app = TestApp::start().await;
    let token = admin(&app).await;
    let team = json!([{"name": "team", "limit": 3, "window_seconds": 3600, "per": "owner"}]);
    let owned = |owner: &str| mint(&token, json!({"owner": owner, "limits": team}));
    let (one, two, other) = (owned("cust_1").await, owned("cust_1").await, owned("cust_2").await);
    for key in [&one, &one, &two] {
        assert_eq!(code(&token, key).await, "VALID");
    }
    assert_eq!((code(&token, &two).await, code(&token, &one).await), ("RATE_LIMITED".into(), "RATE_LIMITED".into()));
    assert_eq!(code(&token, &other).await, "VALID");

    restart(&mut app, &[]).await;
    let token = Person { base: app.base.clone(), ..token };
    assert_eq!(code(&token, &two).await, "RATE_LIMITED", "a restart resets no limit");
}

#[actix_web::test]
async fn invalid_limits_and_quotas_are_refused_by_field() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let refused = |extra: Value| {
        let mut body = json!({"name": "k"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        token.post_json("/api/keys", body)
    };
    let burst = |name: &str, limit: i64| json!({"name": name, "limit": limit, "window_seconds": 1});
    refused(json!({"limits": [burst("key", 1)]})).await.assert_invalid("limits[0].name");
    refused(json!({"limits": [burst("a", 1), burst("a", 0)]})).await.assert_invalid("limits[1].limit");
    refused(json!({"limits": [{"name": "a"}]})).await.assert_status(422);
    refused(json!({"quota": {"limit": 0}})).await.assert_invalid("quota.limit");
    refused(json!({"quota": {"limit": 5, "refill": "hourly"}})).await.assert_status(422);
    let key = mint(&token, json!({})).await;
    let patch = |body: Value| token.patch_json(path(&key, ""), body);
    patch(json!({"limits": [burst("B", 1)]})).await.assert_invalid("limits[0].name");
    let changed = patch(json!({"limits": [burst("b", 1)], "quota": {"limit": 5}})).await.assert_ok().json();
    assert_eq!((&changed["limits"][0]["name"], &changed["quota"]["limit"]), (&json!("b"), &json!(5)));
    let cleared = patch(json!({"limits": [], "quota": null})).await.assert_ok().json();
    assert_eq!((&cleared["limits"], &cleared["quota"]), (&json!([]), &Value::Null));
}

#[actix_web::test]
async fn a_quota_is_used_up_and_full_again_the_next_day() {
    let mut app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"quota": {"limit": 3, "refill": "daily"}})).await;
    let first = verify(&token, &key, json!({"cost": 2})).await;
    assert_eq!((&first["code"], &first["quota"]["remaining"]), (&json!("VALID"), &json!(1)));
    assert_eq!(verify(&token, &key, json!({"dry_run": true})).await["quota"]["remaining"], 1);
    assert_eq!(code(&token, &key).await, "VALID");

    let refused = app.key(text(&key, "secret")).get("/protected/").await;
    assert_eq!(refused.assert_problem(429, "quota_exceeded")["violated-policies"], json!(["quota"]));
    assert!(refused.header("retry-after").parse::<i64>().unwrap() <= 86_401);
    let records = token.get("/api/usage/records?outcome=QUOTA_EXCEEDED").await.json();
    assert_eq!(records["data"][0]["reason"], "the quota is used up");
    let more = json!({"quota": {"limit": 5, "refill": "daily"}});
    token.patch_json(path(&key, ""), more).await.assert_ok();
    assert_eq!(code(&token, &key).await, "VALID", "two more were granted");

    restart(&mut app, &[]).await;
    let token = Person { base: app.base.clone(), ..token };
    assert_eq!(verify(&token, &key, json!({})).await["quota"]["remaining"], 0, "a restart forgets nothing used");
    assert_eq!(code(&token, &key).await, "QUOTA_EXCEEDED");
    app.advance(TimeDelta::days(1));
    assert_eq!(verify(&token, &key, json!({})).await["quota"]["remaining"], 4);
}

#[actix_web::test]
async fn two_hundred_racing_calls_use_a_quota_of_fifty_exactly() {
    let mut app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"quota": {"limit": 50}, "rate_limit": 1_000_000})).await;
    let gate = Arc::clone(&app.running().state.gate);
    let races = (0..200).map(|_| {
        let (gate, secret) = (Arc::clone(&gate), text(&key, "secret").to_owned());
        tokio::spawn(async move {
            gate.decide(&VerificationRequest::new(Credential::secret(&secret), None)).await.unwrap().is_valid()
        })
    });
    let won = futures_util::future::join_all(races).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 50);

    // A stop returns the unused part of a lease, so a new quota loses nothing.
    token.patch_json(path(&key, ""), json!({"quota": {"limit": 1_050}})).await.assert_ok();
    assert_eq!(code(&token, &key).await, "VALID");
    restart(&mut app, &[]).await;
    let token = Person { base: app.base.clone(), ..token };
    assert_eq!(verify(&token, &key, json!({"cost": 999})).await["quota"]["remaining"], 0);
}

#[actix_web::test]
async fn a_rotated_key_shares_limits_and_quota_with_its_successor() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let burst = json!([{"name": "burst", "limit": 4, "window_seconds": 3600}]);
    let old = mint(&token, json!({"limits": burst, "quota": {"limit": 3}})).await;
    assert_eq!(code(&token, &old).await, "VALID");
    let new = token.post_json(path(&old, "/rotation"), json!({})).await.assert_status(201).json();
    assert_eq!((&new["limits"][0]["name"], &new["quota"]["limit"]), (&json!("burst"), &json!(3)));
    assert_eq!((code(&token, &new).await, code(&token, &old).await), ("VALID".into(), "VALID".into()));
    assert_eq!(code(&token, &new).await, "QUOTA_EXCEEDED");
    token.patch_json(path(&new, ""), json!({"quota": null})).await.assert_ok();
    assert_eq!((code(&token, &old).await, code(&token, &new).await), ("VALID".into(), "RATE_LIMITED".into()));
}

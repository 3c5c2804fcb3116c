//! `/api/keys`: rotation with its overlap, deletion and restoration.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::domain::Role;
use gatepost::schema::{api_keys, audit_entries};
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Person, TestApp};

const DATA: &str = "/api/data";

async fn rotate(token: &Person, key: &Value, body: Value) -> Value {
    token.post_json(path(key, "/rotation"), body).await.assert_status(201).json()
}

fn actions(app: &TestApp, key: &Value) -> Vec<String> {
    audit_entries::table
        .filter(audit_entries::target.eq(format!("api_key:{}", key["id"])))
        .order(audit_entries::id)
        .select(audit_entries::action)
        .load(&mut app.conn())
        .unwrap()
}

#[actix_web::test]
async fn a_rotated_key_works_during_the_overlap_and_is_refused_after_it() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let old = mint(&token, json!({})).await;
    let (before, was) = (app.key(text(&old, "secret")), text(&old, "secret").to_owned());
    before.get(DATA).await.assert_ok();

    let answer = token.post_json(path(&old, "/rotation"), json!({"overlap_seconds": 3600})).await;

    let new = answer.assert_status(201).json();
    assert_eq!((answer.header("cache-control"), answer.header("location")), ("no-store", &*path(&new, "")));
    assert_eq!((&new["rotated_from"], &new["rotated_to"], &new["state"]), (&old["id"], &Value::Null, &json!("active")));
    let after = app.key(text(&new, "secret"));
    assert!(text(&new, "secret") != was && new["api_key"] == new["secret"]);
    for holder in [&before, &after] {
        holder.get(DATA).await.assert_ok();
    }
    let shown = token.get(path(&old, "")).await.assert_ok().json();
    assert_eq!(
        (&shown["state"], &shown["rotated_to"], &shown["is_active"]),
        (&json!("rotating"), &new["id"], &json!(true))
    );
    assert!(shown["rotates_out_at"].is_string() && shown["rotated_from"].is_null());

    app.advance(TimeDelta::hours(1));

    assert_eq!(before.get(DATA).await.assert_problem(401, "api_key_expired")["detail"], "API key has expired");
    after.get(DATA).await.assert_ok();
    let verdict = token.post_json("/api/keys/verification", json!({"key": was})).await.assert_ok().json();
    assert_eq!((&verdict["valid"], &verdict["code"]), (&json!(false), &json!("ROTATED_OUT")));
    assert_eq!(verdict["key"]["rotated_to"], new["id"]);
    assert_eq!(token.get(path(&old, "")).await.json()["state"], "expired");
    assert_eq!(actions(&app, &old), ["api_key.minted", "api_key.rotated"]);
    assert_eq!(actions(&app, &new), ["api_key.minted"]);
}

#[actix_web::test]
async fn a_successor_has_every_setting_of_the_key_before_it() {
    let app = TestApp::start().await;
    let dan = app.developer("dan").await;
    let developer = app.token_of(&dan, &["*"]);
    let old = mint(
        &developer,
        json!({
            "name": "Orders", "description": "for the shop", "environment": "test", "prefix": "acme_x", "scopes": ["orders:*"],
            "rate_limit": 5, "rate_window_seconds": 60, "allowed_ips": ["203.0.113.0/24"], "owner": "customer-7",
            "requires_owner": true, "metadata": {"plan": "gold"}, "tags": ["shop", "eu"], "expires_at": "2099-01-01T00:00:00Z",
        }),
    )
    .await;
    let admin = admin(&app).await;

    let new = rotate(&admin, &old, json!({})).await;

    assert!(text(&new, "secret").starts_with("acme_x_test_"));
    for field in [
        "tenant_id",
        "user_id",
        "name",
        "description",
        "environment",
        "scopes",
        "rate_limit",
        "rate_window_seconds",
        "allowed_ips",
        "owner",
        "requires_owner",
        "metadata",
        "tags",
        "is_active",
        "expires_at",
        "state",
    ] {
        assert_eq!(new[field], old[field], "{field}");
    }
    let shown = admin.get(path(&old, "")).await.json();
    let until = chrono::DateTime::parse_from_rfc3339(text(&shown, "rotates_out_at")).unwrap().to_utc();
    let day = until - app.clock.now();
    assert!(TimeDelta::hours(23) < day && day <= TimeDelta::hours(24), "a day by default: {day}");
}

#[actix_web::test]
async fn a_rotation_without_overlap_ends_the_old_key_at_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let old = mint(&token, json!({})).await;
    app.key(text(&old, "secret")).get(DATA).await.assert_ok();
    let new = rotate(&token, &old, json!({"overlap_seconds": 0})).await;
    app.key(text(&old, "secret")).get(DATA).await.assert_problem(401, "api_key_expired");
    app.key(text(&new, "secret")).get(DATA).await.assert_ok();
}

#[actix_web::test]
async fn a_rotated_key_and_its_successor_share_one_limit_also_after_a_restart() {
    let mut app = TestApp::start().await;
    let token = admin(&app).await;
    let old = mint(&token, json!({"rate_limit": 4})).await;
    app.key(text(&old, "secret")).get("/protected/").await.assert_ok();
    let new = rotate(&token, &old, json!({})).await;
    let newest = rotate(&token, &new, json!({})).await;
    for (key, remaining) in [(&old, "2"), (&new, "1")] {
        let answer = app.key(text(key, "secret")).get("/protected/").await;
        assert_eq!(answer.assert_ok().header("x-ratelimit-remaining"), remaining);
    }

    app.stop().await;
    let settings = crate::support::settings::for_test(&app.database.url, &[]);
    let running = gatepost::app::App::start(settings, app.clock.clone()).await.unwrap();
    app.base = format!("http://{}", running.addr);
    app.running = Some(running);

    let answer = app.key(text(&newest, "secret")).get("/protected/").await;
    assert_eq!(answer.assert_ok().header("x-ratelimit-remaining"), "0");
    for key in [&old, &new, &newest] {
        app.key(text(key, "secret")).get("/protected/").await.assert_problem(429, "rate_limited");
    }
}

#[actix_web::test]
async fn a_limit_changed_on_one_key_applies_to_its_lineage() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (old, stranger) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    let new = rotate(&token, &old, json!({})).await;
    app.key(text(&old, "secret")).get("/protected/").await.assert_ok();
    token.patch_json(path(&new, ""), json!({"rate_limit": 7, "rate_window_seconds": 60})).await.assert_ok();
    let shown = token.get(path(&old, "")).await.json();
    assert_eq!((&shown["rate_limit"], &shown["rate_window_seconds"]), (&json!(7), &json!(60)));
    let answer = app.key(text(&old, "secret")).get("/protected/").await;
    assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("7", "5"));
    assert_eq!(token.get(path(&stranger, "")).await.json()["rate_limit"], 1000);
}

#[actix_web::test]
async fn racing_rotations_make_one_successor() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let old = mint(&token, json!({})).await;
    let race = (0..8).map(|_| token.post_json(path(&old, "/rotation"), json!({})));
    let answers = futures_util::future::join_all(race).await;
    let made: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(made.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        let says = answer.assert_problem(409, "conflict");
        let expected = format!("rotate its successor, key {}", made[0].json()["id"]);
        assert!(text(&says, "detail").contains(&expected), "{says}");
    }
    let rows: i64 = api_keys::table.count().get_result(&mut app.conn()).unwrap();
    assert_eq!(rows, 2);
}

#[actix_web::test]
async fn a_key_that_cannot_be_rotated_gets_an_error_with_what_to_do() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let conflict = |key: Value| {
        let token = token.clone();
        async move {
            let answer = token.post_json(path(&key, "/rotation"), json!({})).await;
            text(&answer.assert_problem(409, "conflict"), "detail").to_owned()
        }
    };
    let revoked = mint(&token, json!({})).await;
    token.post_json(path(&revoked, "/revocation"), json!({})).await.assert_ok();
    assert!(conflict(revoked).await.contains("create a new key"));
    let deleted = mint(&token, json!({})).await;
    token.delete(path(&deleted, "")).await.assert_status(204);
    assert!(conflict(deleted).await.contains("restore it"));
    let soon = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    let expired = mint(&token, json!({"expires_at": soon})).await;
    app.advance(TimeDelta::minutes(6));
    assert!(conflict(expired.clone()).await.contains("later expiry"));
    token.patch_json(path(&expired, ""), json!({"expires_at": null})).await.assert_ok();
    let new = rotate(&token, &expired, json!({})).await;
    // Its successor is permanently deleted, so neither can be rotated.
    token.delete(path(&new, "")).await.assert_status(204);
    diesel::delete(api_keys::table.filter(api_keys::id.eq(new["id"].as_i64().unwrap())))
        .execute(&mut app.conn())
        .unwrap();
    assert!(conflict(expired).await.contains("create a new key"));
    let key = mint(&token, json!({})).await;
    for seconds in [json!(-1), json!(2_592_001), json!("a day"), json!(1.5)] {
        let body = json!({"overlap_seconds": seconds});
        token.post_json(path(&key, "/rotation"), body).await.assert_invalid("overlap_seconds");
    }
    token.post_json(path(&key, "/rotation"), json!({"name": "x"})).await.assert_invalid("name");
    token.post_json("/api/keys/99999/rotation", json!({})).await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn a_disabled_key_has_a_disabled_successor_and_a_rotating_one_can_be_ended_early() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let disabled = mint(&token, json!({"is_active": false})).await;
    let new = rotate(&token, &disabled, json!({})).await;
    assert_eq!(new["state"], "disabled");
    app.key(text(&new, "secret")).get(DATA).await.assert_problem(401, "api_key_disabled");
    assert_eq!(token.get(path(&disabled, "")).await.json()["state"], "disabled");

    let old = mint(&token, json!({})).await;
    let next = rotate(&token, &old, json!({})).await;
    token.post_json(path(&old, "/revocation"), json!({"reason": "all moved"})).await.assert_ok();
    app.key(text(&old, "secret")).get(DATA).await.assert_problem(401, "api_key_disabled");
    app.key(text(&next, "secret")).get(DATA).await.assert_ok();
    let shown = token.get(path(&old, "")).await.json();
    assert_eq!((&shown["state"], &shown["revoked_reason"]), (&json!("revoked"), &json!("all moved")));
}

#[actix_web::test]
async fn a_repeated_rotation_makes_one_successor_and_shows_its_secret_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (old, other) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    let once = token.with("idempotency-key", "rotation-of-today");
    let (first, again) = (
        once.post_json(path(&old, "/rotation"), json!({})).await,
        once.post_json(path(&old, "/rotation"), json!({})).await,
    );
    let (one, two) = (first.assert_status(201).json(), again.assert_status(201).json());
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(one["id"], two["id"]);
    assert!(one.get("secret").is_some() && two.get("secret").is_none() && two.get("api_key").is_none());
    let another = once.post_json(path(&other, "/rotation"), json!({})).await;
    another.assert_problem(422, "idempotency_mismatch");
    let longer = once.post_json(path(&old, "/rotation"), json!({"overlap_seconds": 5})).await;
    longer.assert_problem(422, "idempotency_mismatch");
    // An idempotency key belongs to one route, so another route can use the same text.
    once.post_json("/api/keys", json!({"name": "x"})).await.assert_status(201);
}

#[actix_web::test]
async fn a_rotation_at_one_replica_reaches_the_other() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let old = mint(&token, json!({})).await;
    let settings = crate::support::settings::for_test(&app.database.url, &[]);
    let other = gatepost::app::App::start(settings, app.clock.clone()).await.unwrap();
    let there = Person::stranger(&format!("http://{}", other.addr)).with("x-api-key", text(&old, "secret"));
    there.get("/protected/").await.assert_ok();
    rotate(&token, &old, json!({"overlap_seconds": 0})).await;
    there.within_a_second("/protected/", 401).await.assert_problem(401, "api_key_expired");
    other.stop().await;
}

#[actix_web::test]
async fn a_developer_rotates_and_restores_only_their_own_keys() {
    let app = TestApp::start().await;
    let dan = app.developer("dan").await;
    let (hers, developer) = (admin(&app).await, app.token_of(&dan, &["*"]));
    let (her_key, his_key) = (mint(&hers, json!({})).await, mint(&developer, json!({})).await);
    developer.post_json(path(&her_key, "/rotation"), json!({})).await.assert_problem(403, "forbidden");
    rotate(&developer, &his_key, json!({})).await;
    hers.delete(path(&her_key, "")).await.assert_status(204);
    developer.post_json(path(&her_key, "/restoration"), json!({})).await.assert_problem(403, "forbidden");
    developer.delete(path(&his_key, "")).await.assert_status(204);
    developer.post_json(path(&his_key, "/restoration"), json!({})).await.assert_ok();
}

#[actix_web::test]
async fn a_restored_key_is_as_it_was_before_deletion() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (alive, ended) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    token.post_json(path(&ended, "/revocation"), json!({"reason": "leaked"})).await.assert_ok();
    for key in [&alive, &ended] {
        token.delete(path(key, "")).await.assert_status(204);
        token.get(path(key, "")).await.assert_problem(404, "not_found");
    }
    app.key(text(&alive, "secret")).get(DATA).await.assert_problem(401, "invalid_api_key");
    let deleted = token.get("/api/keys?state=deleted&offset=0").await.assert_ok().json();
    assert_eq!(deleted["total"], 2);
    assert!(
        deleted["data"]
            .as_array()
            .unwrap()
            .iter()
            .all(|key| key["state"] == "deleted" && key["deleted_at"].is_string())
    );

    app.advance(TimeDelta::days(29));
    let back = token.post_json(path(&alive, "/restoration"), json!({})).await.assert_ok().json();
    assert_eq!((&back["state"], &back["deleted_at"]), (&json!("active"), &Value::Null));
    let back = token.post_json(path(&ended, "/restoration"), json!({})).await.assert_ok().json();
    assert_eq!((&back["state"], &back["revoked_reason"]), (&json!("revoked"), &json!("leaked")));

    app.key(text(&alive, "secret")).get(DATA).await.assert_ok();
    app.key(text(&ended, "secret")).get(DATA).await.assert_problem(401, "api_key_disabled");
    token.post_json(path(&alive, "/restoration"), json!({})).await.assert_problem(409, "conflict");
    assert_eq!(actions(&app, &alive), ["api_key.minted", "api_key.deleted", "api_key.restored"]);
    assert_eq!(token.get("/api/keys/count?state=deleted").await.json()["count"], 0);
}

#[actix_web::test]
async fn a_deleted_key_cannot_be_restored_after_thirty_days() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    token.delete(path(&key, "")).await.assert_status(204);
    app.advance(TimeDelta::days(30));
    token.post_json(path(&key, "/restoration"), json!({})).await.assert_problem(404, "not_found");
    token.post_json(path(&key, "/rotation"), json!({})).await.assert_problem(404, "not_found");
    assert_eq!(token.get("/api/keys?state=deleted").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn another_tenant_s_key_is_neither_rotated_nor_restored() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (key, gone) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    token.delete(path(&gone, "")).await.assert_status(204);
    let beta = app.make_tenant("beta");
    let eve = app.person("eve", beta, Role::Owner).await;
    let eve = Person::with_token(&app.base, &app.mint_token(gatepost::domain::UserId(eve.user_id), Some(beta), &["*"]));
    eve.post_json(path(&key, "/rotation"), json!({})).await.assert_problem(404, "not_found");
    eve.post_json(path(&gone, "/restoration"), json!({})).await.assert_problem(404, "not_found");
    assert_eq!(eve.get("/api/keys?state=deleted").await.json()["data"], json!([]));
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["*"]);
    rotate(&instance, &key, json!({})).await;
    instance.post_json(path(&gone, "/restoration"), json!({})).await.assert_ok();
}

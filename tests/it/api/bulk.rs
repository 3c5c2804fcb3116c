//! `/api/keys/bulk-…`: one change of many keys.

use diesel::prelude::*;
use gatepost::domain::Role;
use gatepost::schema::{api_keys, audit_entries};
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Person, TestApp};

async fn keys(token: &Person, count: usize) -> Vec<Value> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(mint(token, json!({"tags": ["old"]})).await);
    }
    made
}

fn ids(keys: &[Value]) -> Vec<Value> {
    keys.iter().map(|key| key["id"].clone()).collect()
}

fn audited(app: &TestApp, action: &str) -> i64 {
    audit_entries::table.filter(audit_entries::action.eq(action)).count().get_result(&mut app.conn()).unwrap()
}

/// Returns a program with a token of an admin of the tenant `beta`.
async fn elsewhere(app: &TestApp) -> Person {
    let beta = app.make_tenant("beta");
    let eve = app.person("eve", beta, Role::Admin).await;
    Person::with_token(&app.base, &app.mint_token(gatepost::domain::UserId(eve.user_id), Some(beta), &["*"]))
}

#[actix_web::test]
async fn a_bulk_revocation_writes_an_audit_entry_for_each_key() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let made = keys(&token, 4).await;
    token.post_json(path(&made[3], "/revocation"), json!({"reason": "before"})).await.assert_ok();
    for key in &made[..3] {
        app.key(text(key, "secret")).get("/protected/").await.assert_ok();
    }
    let mut asked = ids(&made);
    asked.extend([json!(999_999), asked[0].clone()]);

    let answer = token.post_json("/api/keys/bulk-revocation", json!({"ids": asked, "reason": "leaked"})).await;

    let expected = json!({"affected": 3, "ids": ids(&made[..3]), "skipped": [made[3]["id"], 999_999]});
    assert_eq!(answer.assert_ok().json(), expected);
    for key in &made[..3] {
        app.key(text(key, "secret")).get("/protected/").await.assert_problem(401, "api_key_disabled");
        assert_eq!(token.get(path(key, "")).await.json()["revoked_reason"], "leaked");
    }
    assert_eq!(token.get(path(&made[3], "")).await.json()["revoked_reason"], "before");
    assert_eq!(audited(&app, "api_key.revoked"), 4);
}

#[actix_web::test]
async fn a_bulk_revocation_reaches_the_other_replica() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let made = keys(&token, 3).await;
    let settings = crate::support::settings::for_test(&app.database.url, &[]);
    let other = gatepost::app::App::start(settings, app.clock.clone()).await.unwrap();
    let there = Person::stranger(&format!("http://{}", other.addr));
    let holders: Vec<_> = made.iter().map(|key| there.with("x-api-key", text(key, "secret"))).collect();
    for holder in &holders {
        holder.get("/protected/").await.assert_ok();
    }
    token.post_json("/api/keys/bulk-revocation", json!({"ids": ids(&made)})).await.assert_ok();
    let refused = holders.iter().map(|holder| holder.within_a_second("/protected/", 401));
    futures_util::future::join_all(refused).await;
    other.stop().await;
}

#[actix_web::test]
async fn bulk_tagging_skips_keys_that_already_have_the_tags() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let made = keys(&token, 3).await;
    let full: Vec<String> = (0..20).map(|number| format!("tag {number}")).collect();
    token.patch_json(path(&made[1], ""), json!({"tags": full})).await.assert_ok();
    token.patch_json(path(&made[2], ""), json!({"tags": ["it's \"new\", {a,b}"]})).await.assert_ok();

    let body = json!({"ids": ids(&made), "add": ["it's \"new\", {a,b}"], "remove": ["old"]});
    let answer = token.post_json("/api/keys/bulk-tagging", body).await.assert_ok().json();

    assert_eq!(answer, json!({"affected": 1, "ids": [made[0]["id"]], "skipped": [made[1]["id"], made[2]["id"]]}));
    assert_eq!(token.get(path(&made[0], "")).await.json()["tags"], json!(["it's \"new\", {a,b}"]));
    assert_eq!(token.get(path(&made[1], "")).await.json()["tags"], json!(full), "more than 20 never fit");
    assert_eq!(token.get("/api/keys/count?tag=old").await.json()["count"], 0);
}

#[actix_web::test]
async fn many_keys_are_deleted_at_once_and_restored_one_by_one() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let made = keys(&token, 3).await;
    let answer = token.post_json("/api/keys/bulk-deletion", json!({"ids": ids(&made)})).await.assert_ok().json();
    assert_eq!((&answer["affected"], &answer["skipped"]), (&json!(3), &json!([])));
    assert_eq!(token.get("/api/keys").await.json()["data"], json!([]));
    app.key(text(&made[0], "secret")).get("/protected/").await.assert_problem(401, "invalid_api_key");
    token.post_json(path(&made[0], "/restoration"), json!({})).await.assert_ok();
    let again = token.post_json("/api/keys/bulk-deletion", json!({"ids": ids(&made)})).await.assert_ok().json();
    assert_eq!((&again["affected"], &again["skipped"]), (&json!(1), &json!(ids(&made[1..]))));
    assert_eq!(audited(&app, "api_key.deleted"), 4);
}

#[actix_web::test]
async fn another_tenant_s_keys_are_skipped() {
    let app = TestApp::start().await;
    let (token, eve) = (admin(&app).await, elsewhere(&app).await);
    let (hers, theirs) = (keys(&token, 2).await, keys(&eve, 1).await);
    let all: Vec<_> = ids(&hers).into_iter().chain(ids(&theirs)).collect();
    for (act, extra) in
        [("bulk-tagging", json!({"add": ["x"]})), ("bulk-revocation", json!({})), ("bulk-deletion", json!({}))]
    {
        let mut body = extra;
        body["ids"] = json!(all);
        let answer = eve.post_json(format!("/api/keys/{act}"), body).await.assert_ok().json();
        assert_eq!(answer, json!({"affected": 1, "ids": ids(&theirs), "skipped": ids(&hers)}), "{act}");
    }
    for key in &hers {
        let shown = token.get(path(key, "")).await.assert_ok().json();
        assert_eq!((&shown["state"], &shown["tags"]), (&json!("active"), &json!(["old"])));
    }
}

#[actix_web::test]
async fn a_developer_cannot_change_keys_in_bulk() {
    let app = TestApp::start().await;
    let dan = app.developer("dan").await;
    let developer = app.token_of(&dan, &["*"]);
    let own = keys(&developer, 1).await;
    for (act, extra) in
        [("bulk-tagging", json!({"add": ["x"]})), ("bulk-revocation", json!({})), ("bulk-deletion", json!({}))]
    {
        let mut body = extra;
        body["ids"] = json!(ids(&own));
        developer.post_json(format!("/api/keys/{act}"), body).await.assert_problem(403, "forbidden");
    }
    let shown = developer.get(path(&own[0], "")).await.assert_ok().json();
    assert_eq!((&shown["state"], &shown["tags"]), (&json!("active"), &json!(["old"])));
}

#[actix_web::test]
async fn an_invalid_bulk_request_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let made = keys(&token, 1).await;
    let many: Vec<i64> = (1..=1_001).collect();
    for (act, body, field) in [
        ("bulk-revocation", json!({}), "ids"),
        ("bulk-revocation", json!({"ids": []}), "ids"),
        ("bulk-revocation", json!({"ids": many}), "ids"),
        ("bulk-revocation", json!({"ids": ["x"]}), "ids[0]"),
        ("bulk-revocation", json!({"ids": ids(&made), "reason": "x".repeat(201)}), "reason"),
        ("bulk-tagging", json!({"ids": ids(&made)}), "add"),
        ("bulk-tagging", json!({"ids": ids(&made), "add": ["ok", "x".repeat(51)]}), "add[1]"),
        ("bulk-tagging", json!({"ids": ids(&made), "add": ["a"], "remove": ["a"]}), "remove"),
        ("bulk-deletion", json!({"ids": ids(&made), "all": true}), "all"),
    ] {
        token.post_json(format!("/api/keys/{act}"), body).await.assert_invalid(field);
    }
    let untouched: i64 = api_keys::table
        .filter(api_keys::revoked_at.is_null())
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::version.eq(1))
        .count()
        .get_result(&mut app.conn())
        .unwrap();
    assert_eq!(untouched, 1);
}

#[actix_web::test]
async fn one_bulk_request_can_change_a_thousand_keys() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    diesel::sql_query(
        "INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at)
         SELECT tenant_id, name, environment, 'pk_' || n, key_prefix, hint, hash_algorithm, pepper_id, 'd' || n,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at
         FROM api_keys, generate_series(1, 999) AS n",
    )
    .execute(&mut app.conn())
    .unwrap();
    let all: Vec<i64> = api_keys::table.select(api_keys::id).load(&mut app.conn()).unwrap();
    assert_eq!(all.len(), 1_000);
    let answer = token.post_json("/api/keys/bulk-tagging", json!({"ids": all, "add": ["swept"]})).await;
    assert_eq!(answer.assert_ok().json()["affected"], 1_000);
    let answer = token.post_json("/api/keys/bulk-revocation", json!({"ids": all})).await;
    assert_eq!(answer.assert_ok().json()["affected"], 1_000);
    assert_eq!((audited(&app, "api_key.updated"), audited(&app, "api_key.revoked")), (1_000, 1_000));
    app.key(text(&key, "secret")).get("/protected/").await.assert_problem(401, "api_key_disabled");
}

#[actix_web::test]
async fn an_instance_token_names_the_tenant_of_a_bulk_request() {
    let app = TestApp::start().await;
    let made = keys(&admin(&app).await, 1).await;
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["keys:write"]);
    instance.post_json("/api/keys/bulk-revocation", json!({"ids": ids(&made)})).await.assert_invalid("tenant_id");
    let answer = instance.post_json("/api/keys/bulk-revocation", json!({"ids": ids(&made), "tenant": "acme"})).await;
    assert_eq!(answer.assert_ok().json()["affected"], 1);
}

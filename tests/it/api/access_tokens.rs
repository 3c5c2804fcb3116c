//! Access tokens: creation, use, limits to the rights of their user, and revocation.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::schema::{access_tokens, memberships, users};
use gatepost::store::notify::Change;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::{admin, text};
use crate::support::{Person, TestApp};

fn with(app: &TestApp, token: &Value) -> Person {
    Person::with_token(&app.base, text(token, "token"))
}

#[actix_web::test]
async fn a_token_is_made_shown_once_and_revoked() {
    let app = TestApp::start().await;
    let ada = admin(&app).await;
    let answer = ada.post_json("/api/tokens", json!({"name": "laptop", "scopes": ["keys:read"]})).await;
    answer.assert_status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    assert!(text(&made, "token").starts_with("gpat_"));
    let laptop = with(&app, &made);
    laptop.get("/api/keys").await.assert_ok();
    laptop.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    let listed = ada.get("/api/tokens").await;
    listed.assert_ok();
    assert!(!listed.body.contains(text(&made, "token")));
    ada.delete(format!("/api/tokens/{}", made["id"])).await.assert_status(204);
    laptop.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn an_expired_token_is_refused_like_an_unknown_one() {
    let app = TestApp::start().await;
    let ada = admin(&app).await;
    let soon = (app.clock.now() + TimeDelta::minutes(1)).to_rfc3339();
    let made =
        ada.post_json("/api/tokens", json!({"name": "short", "expires_at": soon})).await.assert_status(201).json();
    with(&app, &made).get("/api/keys").await.assert_ok();
    app.advance(TimeDelta::minutes(1));
    with(&app, &made).get("/api/keys").await.assert_problem(401, "unauthenticated");
    for header in ["Bearer gpat_nonsense", "Bearer", "Bearer ", "Basic YTpi", "gpat_x"] {
        app.stranger()
            .with(AUTHORIZATION.as_str().to_owned().leak(), header)
            .get("/api/keys")
            .await
            .assert_problem(401, "unauthenticated");
    }
}

#[actix_web::test]
async fn a_token_never_has_more_rights_than_its_user_has_now() {
    let app = TestApp::start().await;
    let dan = app.developer("dan").await;
    let token = app.token_of(&dan, &["*"]);
    token.post_json("/api/keys", json!({"name": "x"})).await.assert_status(201);
    let membership = memberships::table.filter(memberships::user_id.eq(dan.user_id));
    diesel::update(membership).set(memberships::role.eq("viewer")).execute(&mut app.conn()).unwrap();
    app.running().state.hear(&Change::Access);
    token.get("/api/keys").await.assert_ok();
    token.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    diesel::update(users::table.find(dan.user_id)).set(users::is_active.eq(false)).execute(&mut app.conn()).unwrap();
    app.running().state.hear(&Change::Access);
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    diesel::update(users::table.find(dan.user_id)).set(users::is_active.eq(true)).execute(&mut app.conn()).unwrap();
    diesel::delete(memberships::table.filter(memberships::user_id.eq(dan.user_id))).execute(&mut app.conn()).unwrap();
    app.running().state.hear(&Change::Access);
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn a_token_cannot_create_tokens_with_scopes_that_it_lacks() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let narrow = app.token_of(&ada, &["tokens:*", "keys:read"]);
    narrow.post_json("/api/tokens", json!({"name": "x", "scopes": ["keys:read"]})).await.assert_status(201);
    narrow
        .post_json("/api/tokens", json!({"name": "x", "scopes": ["keys:write"]}))
        .await
        .assert_problem(403, "forbidden");
    narrow.post_json("/api/tokens", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    narrow.post_json("/api/tokens", json!({"name": "x", "scopes": ["orders:read"]})).await.assert_invalid("scopes[0]");
    narrow.post_json("/api/tokens", json!({"scopes": ["keys:read"]})).await.assert_invalid("name");
    narrow.post_json("/api/tokens", json!({"name": "x", "scopes": []})).await.assert_invalid("scopes");
}

#[actix_web::test]
async fn a_token_does_not_outlive_the_one_that_made_it() {
    let app = TestApp::start().await;
    let ada = admin(&app).await;
    let at = |minutes| (app.clock.now() + TimeDelta::minutes(minutes)).to_rfc3339();
    let short = create_token(&ada, json!({"name": "short", "expires_at": at(60)})).await;
    let (end, short) = (short["expires_at"].clone(), with(&app, &short));
    for later in
        [json!({"name": "x"}), json!({"name": "x", "expires_at": null}), json!({"name": "x", "expires_at": at(61)})]
    {
        let refused = short.post_json("/api/tokens", later).await.assert_invalid("expires_at");
        assert!(refused.to_string().contains("or earlier: the token of this request expires then"), "{refused}");
    }
    let child = create_token(&short, json!({"name": "child", "expires_at": end})).await;
    assert_ne!(child["minted_by"], Value::Null);
    app.advance(TimeDelta::minutes(60));
    with(&app, &child).get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn revoking_a_token_revokes_all_its_descendants() {
    let app = TestApp::start().await;
    let person = app.admin("ada").await;
    let ada = app.token_of(&person, &["*"]);
    let first = create_token(&ada, json!({"name": "first"})).await;
    let second = create_token(&with(&app, &first), json!({"name": "second"})).await;
    let third = create_token(&with(&app, &second), json!({"name": "third"})).await;
    let beside = create_token(&ada, json!({"name": "beside"})).await;
    assert_eq!((&second["minted_by"], &third["minted_by"]), (&first["id"], &second["id"]));
    for token in [&first, &second, &third] {
        with(&app, token).get("/api/keys").await.assert_ok();
    }

    person.submit(format!("/tokens/{}/revocation", first["id"]), &[]).await.assert_see_other("/tokens");

    for token in [&first, &second, &third] {
        with(&app, token).get("/api/keys").await.assert_problem(401, "unauthenticated");
    }
    with(&app, &beside).get("/api/keys").await.assert_ok();
    let log = ada.get("/api/audit?action=access_token.revoked").await.assert_ok().json();
    let log: Vec<_> = log["data"].as_array().unwrap().iter().map(|entry| &entry["details"]).collect();
    assert_eq!(log.len(), 3);
    assert!(log.iter().any(|details| details["minted_by"] == second["id"]), "{log:?}");
}

#[actix_web::test]
async fn a_tenant_token_created_by_an_instance_token_ends_with_it() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let everywhere = app.instance_token_of(&olga, &["*"]);
    let instance = create_token(&everywhere, json!({"name": "instance"})).await;
    let tenants = create_token(&with(&app, &instance), json!({"name": "tenant's", "tenant": "acme"})).await;
    with(&app, &tenants).get("/api/keys").await.assert_ok();
    everywhere.delete(format!("/api/tokens/{}", instance["id"])).await.assert_status(204);
    with(&app, &tenants).get("/api/keys").await.assert_problem(401, "unauthenticated");
}

async fn create_token(by: &Person, ask: Value) -> Value {
    by.post_json("/api/tokens", ask).await.assert_status(201).json()
}

#[actix_web::test]
async fn the_last_use_of_a_token_is_recorded() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    token.get("/api/keys").await.assert_ok();
    app.running().state.gate.flush().await;
    let used: Vec<Option<chrono::DateTime<chrono::Utc>>> =
        access_tokens::table.select(access_tokens::last_used_at).load(&mut app.conn()).unwrap();
    assert!(used.iter().all(Option::is_some) && !used.is_empty());
}

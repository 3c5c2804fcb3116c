//! Tenants in the API: settings, suspension on every replica, deletion and restoration.

use gatepost::app::App;
use serde_json::{Value, json};

use super::{mint, text};
use crate::support::{Person, TestApp, settings, statements};

#[actix_web::test]
async fn a_tenant_suspended_at_one_replica_is_refused_at_the_other_within_a_second() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let key = mint(&program, json!({})).await;
    let operator = app.instance_token_of(&app.operator("grace").await, &["tenants:write"]);
    let other = App::start(settings::for_test(&app.database.url, &[]), app.clock.clone()).await.unwrap();
    let there = Person::stranger(&format!("http://{}", other.addr)).with("x-api-key", text(&key, "secret"));
    let here = app.key(text(&key, "secret"));
    here.get("/protected/").await.assert_ok();
    there.get("/protected/").await.assert_ok();

    let suspended = operator.post_json("/api/tenants/1/suspension", json!({"reason": "not paid"})).await;

    let body = suspended.assert_ok().json();
    assert_eq!((text(&body, "state"), text(&body, "suspended_reason")), ("suspended", "not paid"));
    here.get("/protected/").await.assert_problem(403, "tenant_suspended");
    there.within_a_second("/protected/", 403).await;
    let verified = program.post_json("/api/keys/verification", json!({"key": key["secret"]})).await.json();
    assert_eq!(text(&verified, "code"), "TENANT_SUSPENDED");
    operator.post_json("/api/tenants/1/activation", json!({})).await.assert_ok();
    here.get("/protected/").await.assert_ok();
    there.within_a_second("/protected/", 200).await;
    other.stop().await;
}

#[actix_web::test]
async fn admins_can_change_settings_but_nothing_reserved_for_operators() {
    let app = TestApp::start().await;
    let token = app.token_of(&app.admin("ada").await, &["*"]);
    let ask = json!({"name": "Acme Ltd", "key_prefix": "acme", "time_zone": "Europe/Vienna"});
    let changed = token.patch_json("/api/tenants/1", ask).await.assert_ok().json();
    assert_eq!((text(&changed, "time_zone"), text(&changed, "key_prefix")), ("Europe/Vienna", "acme"));
    let cleared = token.patch_json("/api/tenants/1", json!({"time_zone": null})).await.assert_ok().json();
    assert_eq!((&cleared["time_zone"], text(&cleared, "name")), (&Value::Null, "Acme Ltd"));
    for (field, value) in [("plan", json!("unlimited")), ("is_active", json!(true))] {
        token.patch_json("/api/tenants/1", json!({field: value})).await.assert_problem(403, "forbidden");
    }
    for field in ["id", "slug", "suspended_at", "deleted_at", "is_operator", "tenant_id"] {
        token.patch_json("/api/tenants/1", json!({field: 1})).await.assert_invalid(field);
    }
    token.patch_json("/api/tenants/1", json!({"key_prefix": "pk"})).await.assert_invalid("key_prefix");
    token.patch_json("/api/tenants/1", json!({"time_zone": "Mars/Olympus"})).await.assert_invalid("time_zone");
    let stale = json!({"name": "x", "updated_at": "2020-01-01T00:00:00Z"});
    token.patch_json("/api/tenants/1", stale).await.assert_problem(409, "conflict");
    let fresh = json!({"name": "x", "updated_at": cleared["updated_at"]});
    token.patch_json("/api/tenants/1", fresh).await.assert_ok();
}

#[actix_web::test]
async fn a_deleted_tenant_is_not_found_until_it_is_restored() {
    let app = TestApp::start().await;
    let otto = app.owner("otto").await;
    let token = app.token_of(&otto, &["*"]);
    let key = mint(&token, json!({})).await;
    let operator = app.instance_token_of(&app.operator("grace").await, &["*"]);
    let holder = app.key(text(&key, "secret"));
    holder.get("/protected/").await.assert_ok();
    let invited = json!({"email": "x@example.com", "role": "viewer"});
    let link = token.post_json("/api/tenants/1/invitations", invited).await.assert_status(201).json();
    let link = text(&link, "link").strip_prefix("http://127.0.0.1:8000").unwrap().to_owned();

    token.delete("/api/tenants/1").await.assert_status(204);

    holder.get("/protected/").await.assert_problem(401, "invalid_api_key");
    token.get("/api/keys").await.assert_problem(401, "unauthenticated");
    otto.visit("/keys").await.assert_status(403);
    app.stranger().visit(&link).await.assert_status(404);
    operator.get("/api/tenants/1").await.assert_problem(404, "not_found");
    operator.get("/api/keys?tenant=acme").await.assert_problem(404, "not_found");
    operator.get(format!("/api/keys/{}", key["id"])).await.assert_problem(404, "not_found");
    operator.post_json(format!("/api/keys/{}/rotation", key["id"]), json!({})).await.assert_problem(404, "not_found");
    assert_eq!(operator.get("/api/tenants").await.assert_ok().json()["total"], 0);
    let deleted = operator.get("/api/tenants?state=deleted").await.assert_ok().json();
    assert_eq!(text(&deleted["data"][0], "state"), "deleted");
    operator.post_json("/api/tenants", json!({"name": "new", "slug": "acme"})).await.assert_invalid("slug");

    operator.post_json("/api/tenants/1/restoration", json!({})).await.assert_ok();
    operator.post_json("/api/tenants/1/restoration", json!({})).await.assert_problem(409, "conflict");
    holder.get("/protected/").await.assert_ok();
    token.get("/api/keys").await.assert_ok();
    otto.visit("/keys").await.assert_ok();
    app.stranger().visit(&link).await.assert_ok();
    let log = token.get("/api/audit?target=tenant:1").await.assert_ok().json();
    let deeds: Vec<_> = log["data"].as_array().unwrap().iter().map(|entry| text(entry, "action").to_owned()).collect();
    assert_eq!(deeds, ["tenant.restored", "tenant.deleted", "tenant.created"]);
}

#[actix_web::test]
async fn a_missing_slug_is_generated_and_a_new_tenant_can_be_suspended() {
    let app = TestApp::start().await;
    let operator = app.instance_token_of(&app.operator("grace").await, &["tenants:write"]);
    let make = async |body: Value| operator.post_json("/api/tenants", body).await;
    for slug in ["uber-grosse-co", "uber-grosse-co-2", "uber-grosse-co-3"] {
        let made = make(json!({"name": "Über Größe & Co"})).await.assert_status(201).json();
        assert_eq!((text(&made, "slug"), text(&made, "state")), (slug, "active"));
    }
    make(json!({"name": "Other", "slug": "uber-grosse-co"})).await.assert_invalid("slug");
    let closed = make(json!({"name": "Later", "is_active": false})).await.assert_status(201).json();
    assert_eq!((text(&closed, "state"), &closed["is_active"]), ("suspended", &json!(false)));
}

#[actix_web::test]
async fn a_tenant_s_token_that_names_another_tenant_causes_no_sql() {
    statements::record();
    let app = TestApp::start_with(&[("GATEPOST_USAGE_FLUSH_MS", "10000")]).await;
    let program = app.program().await;
    app.make_tenant("beta");
    app.until_all_is_heard(&program).await;
    program.get("/api/keys").await.assert_ok();
    let before = statements::so_far();

    for tenant in ["tenant=beta", "tenant_id=2", "tenant=none", "tenant_id=999"] {
        program.get(format!("/api/keys?{tenant}")).await.assert_problem(404, "not_found");
    }
    for id in [2, 999] {
        program.get(format!("/api/tenants/{id}")).await.assert_problem(404, "not_found");
    }

    assert_eq!(statements::so_far()[before.len()..], [] as [String; 0]);
}

#[actix_web::test]
async fn a_replica_learns_that_an_unknown_tenant_now_exists() {
    let app = TestApp::start().await;
    let gate = std::sync::Arc::clone(&app.running().state.gate);
    assert_eq!(gate.tenant_by_slug("beta").await.unwrap(), None);
    // The replica learns of this as if another process had created the tenant.
    let beta = app.make_tenant("beta");
    for _ in 0..400 {
        if gate.tenant_by_slug("beta").await.unwrap() == Some(beta) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("beta is still unknown");
}

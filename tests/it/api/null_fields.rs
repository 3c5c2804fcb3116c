//! `null` in request bodies: every field of every change, and every field of every `POST`.

use std::collections::BTreeMap;

use gatepost::domain::Role;
use serde_json::{Map, Value, json};

use super::{admin, text};
use crate::support::people::PASSWORD;
use crate::support::{Person, TestApp, source};

/// Effect of `null` on a field of a change.
enum Null {
    /// Refused with 422 at the field.
    Refused,
    /// Changes the first value to the second, empty one.
    Clears(Value, Value),
}
use Null::{Clears, Refused};

/// Resource with `PATCH`: its source file, its path, the path to read it, and its fields.
struct Change {
    file: &'static str,
    path: String,
    read: String,
    fields: Vec<(&'static str, Null)>,
}

fn of_keys(path: String) -> Change {
    let limit = json!([{"name": "burst", "limit": 10, "window_seconds": 1, "per": "key"}]);
    let fields = vec![
        ("name", Refused),
        ("description", Clears(json!("x"), json!(null))),
        ("scopes", Clears(json!(["a"]), json!([]))),
        ("rate_limit", Refused),
        ("rate_window_seconds", Refused),
        ("limits", Clears(limit, json!([]))),
        ("quota", Clears(json!({"limit": 5, "refill": null}), json!(null))),
        ("allowed_ips", Clears(json!(["203.0.113.7"]), json!([]))),
        ("owner", Clears(json!("x"), json!(null))),
        ("requires_owner", Refused),
        ("metadata", Clears(json!({"a": 1}), json!({}))),
        ("tags", Clears(json!(["t"]), json!([]))),
        ("is_active", Refused),
        ("expires_at", Clears(json!("2999-01-01T00:00:00Z"), json!(null))),
        ("clear_expires", Refused),
    ];
    Change { file: "api_keys.rs", read: path.clone(), path, fields }
}

fn of_webhooks(path: String) -> Change {
    let fields = vec![
        ("name", Refused),
        ("url", Refused),
        ("events", Refused),
        ("is_active", Refused),
        ("payload_format", Refused),
        ("signature_style", Refused),
        ("timeout_seconds", Refused),
        ("max_in_flight", Refused),
        ("rate_per_second", Clears(json!(5), json!(null))),
        ("retry_schedule", Clears(json!([7]), json!(null))),
        ("headers", Clears(json!({"x-team": "••••"}), json!({}))),
    ];
    Change { file: "webhooks.rs", read: path.clone(), path, fields }
}

fn of_the_instance(tenant: i64, user: i64) -> Vec<Change> {
    let limit = || Clears(json!(5), json!(null));
    let tenant = format!("/api/tenants/{tenant}");
    let tenants = vec![
        ("name", Refused),
        ("key_prefix", Refused),
        ("time_zone", Clears(json!("Europe/Vienna"), json!(null))),
        ("plan", Refused),
        ("is_active", Refused),
        ("updated_at", Refused),
    ];
    let plans = vec![
        ("max_keys", limit()),
        ("max_webhooks", limit()),
        ("max_members", limit()),
        ("max_events_per_month", limit()),
        ("default_rate_limit", Refused),
        ("max_rate_limit", Clears(json!(100_000), json!(null))),
        ("updated_at", Refused),
    ];
    let users = vec![("name", Refused), ("is_active", Refused)];
    let (plan, own) = ("/api/plans/free".to_owned(), format!("/api/users/{user}"));
    let member = format!("{tenant}/members/{user}");
    vec![
        Change { file: "tenants.rs", read: tenant.clone(), path: tenant.clone(), fields: tenants },
        Change { file: "plans.rs", read: "/api/plans".to_owned(), path: plan, fields: plans },
        Change { file: "users.rs", read: own.clone(), path: own, fields: users },
        Change { file: "members.rs", read: format!("{tenant}/members"), path: member, fields: vec![("role", Refused)] },
    ]
}

/// Sends `null` for each field of a resource and checks the resource afterwards.
async fn check(who: &Person, change: &Change) {
    for (field, null) in &change.fields {
        let before = who.get(&change.read).await.assert_ok().json();
        match null {
            Refused => {
                let problem = who.patch_json(&change.path, json!({ *field: null })).await.assert_invalid(field);
                assert!(!text(&problem["errors"][0], "detail").is_empty(), "{problem}");
                assert_eq!(who.get(&change.read).await.json(), before, "{}: {field}", change.path);
            }
            Clears(value, empty) => {
                let value = if *field == "headers" { json!({"x-team": "blue"}) } else { value.clone() };
                who.patch_json(&change.path, json!({ *field: value })).await.assert_ok();
                let kept = who.patch_json(&change.path, json!({})).await.assert_ok().json();
                let Clears(shown, _) = null else { unreachable!() };
                assert_eq!(&kept[field], shown, "{}: an absent {field} stays", change.path);
                let cleared = who.patch_json(&change.path, json!({ *field: null })).await.assert_ok().json();
                assert_eq!(&cleared[field], empty, "{}: {field}", change.path);
            }
        }
    }
}

#[actix_web::test]
async fn null_in_a_change_clears_a_field_that_may_be_empty_and_is_refused_for_others() {
    let app = TestApp::start().await;
    let (token, operator) = (admin(&app).await, app.operator("root").await);
    let instance = app.instance_token_of(&operator, &["*"]);
    let key = super::mint(&token, json!({})).await;
    let webhook = json!({"url": "http://127.0.0.1:9/hook", "events": ["*"]});
    let webhook = token.post_json("/api/webhooks", webhook).await.assert_status(201).json();
    let bob = app.make_user("bob", false);
    app.make_member(app.tenant, bob, Role::Viewer);

    check(&token, &of_keys(super::path(&key, ""))).await;
    check(&token, &of_webhooks(format!("/api/webhooks/{}", webhook["id"]))).await;
    for change in of_the_instance(app.tenant.0, bob.0) {
        check(&instance, &change).await;
    }
}

#[test]
fn every_field_of_every_change_is_in_the_table() {
    let mut changes = vec![of_keys(String::new()), of_webhooks(String::new())];
    changes.extend(of_the_instance(1, 1));
    let listed: BTreeMap<_, Vec<_>> = changes
        .iter()
        .map(|change| (change.file.to_owned(), change.fields.iter().map(|(field, _)| (*field).to_owned()).collect()))
        .collect();
    let written: BTreeMap<_, Vec<_>> = source::request_bodies()
        .into_iter()
        .filter(|body| body.name == "UpdateBody")
        .map(|body| (body.file, body.fields))
        .collect();
    assert_eq!(listed, written);
}

/// `POST` body: the file of its struct, the path, an accepted body, and the required fields.
struct Creation {
    place: &'static str,
    path: &'static str,
    body: Value,
    required: &'static [&'static str],
}

fn creation(place: &'static str, path: &'static str, body: Value, required: &'static [&'static str]) -> Creation {
    Creation { place, path, body, required }
}

fn of_a_tenant() -> Vec<Creation> {
    let key = json!({"key": "sk_x"});
    let event = json!({"type": "order.created", "data": {}});
    let webhook = json!({"url": "http://127.0.0.1:9/hook", "events": ["*"]});
    let tags = json!({"ids": ["{key}"], "add": ["a"], "remove": ["b"]});
    vec![
        creation("api_keys.rs CreateBody", "/api/keys", json!({"name": "ci"}), &["name"]),
        creation("api_keys.rs RevokeBody", "/api/keys/{key}/revocation", json!({}), &[]),
        creation("bulk.rs RevokeBody", "/api/keys/bulk-revocation", json!({"ids": ["{key}"]}), &["ids"]),
        creation("bulk.rs TagBody", "/api/keys/bulk-tagging", tags, &["ids"]),
        creation("bulk.rs DeleteBody", "/api/keys/bulk-deletion", json!({"ids": ["{key}"]}), &["ids"]),
        creation("lookup.rs LookupBody", "/api/keys/lookup", key.clone(), &["key"]),
        creation("rotation.rs RotateBody", "/api/keys/{key}/rotation", json!({}), &[]),
        creation("listing.rs ListAsk", "/api/keys/search", json!({}), &[]),
        creation("listing.rs ListAsk", "/api/keys/count", json!({}), &[]),
        creation("verification.rs VerifyBody", "/api/keys/verification", key.clone(), &["key"]),
        creation("verification.rs VerifyBody", "/api/keys/verify", key.clone(), &["key"]),
        creation(
            "verification.rs BatchBody",
            "/api/keys/verifications",
            json!({"verifications": [key]}),
            &["verifications"],
        ),
        creation("webhooks.rs CreateBody", "/api/webhooks", webhook, &["url", "events"]),
        creation("webhooks.rs TestBody", "/api/webhooks/{webhook}/test", json!({}), &[]),
        creation("secrets.rs RotationBody", "/api/webhooks/{webhook}/secret-rotation", json!({}), &[]),
        creation("secrets.rs KeyRotationBody", "/api/webhooks/{webhook}/key-rotation", json!({}), &[]),
        creation("events.rs PublishBody", "/api/events", event.clone(), &["type"]),
        creation("events.rs BatchBody", "/api/events/batch", json!({"events": [event]}), &["events"]),
        creation("usage_records.rs ReportBody", "/api/usage", json!({"records": [{"key_id": "{key}"}]}), &["records"]),
        creation("tokens.rs CreateBody", "/api/tokens", json!({"name": "t"}), &["name"]),
        creation(
            "members.rs InviteBody",
            "/api/tenants/{tenant}/invitations",
            json!({"email": "{email}", "role": "viewer"}),
            &["email", "role"],
        ),
        creation(
            "login.rs LoginBody",
            "/api/auth/login",
            json!({"email": "ada@example.com", "password": PASSWORD}),
            &["email", "password"],
        ),
    ]
}

fn of_an_operator() -> Vec<Creation> {
    let user = json!({"email": "{email}", "password": "correct horse battery staple"});
    let member = json!({"user_id": "{user}", "role": "viewer"});
    vec![
        creation("members.rs CreateBody", "/api/tenants/{tenant}/members", member, &["user_id", "role"]),
        creation("tenants.rs CreateBody", "/api/tenants", json!({"name": "Acme"}), &["name"]),
        creation("tenants.rs SuspensionBody", "/api/tenants/{new-tenant}/suspension", json!({}), &[]),
        creation("users.rs CreateBody", "/api/users", user, &["email", "password"]),
    ]
}

/// Replaces the placeholders with ids of new rows.
async fn fresh(app: &TestApp, token: &Person, number: usize, text: &str) -> String {
    let mut text = text.replace("{tenant}", &app.tenant.0.to_string());
    text = text.replace("{email}", &format!("new{number}@example.com"));
    if text.contains("{key}") {
        let key = super::mint(token, json!({"tags": ["b"]})).await;
        text = text.replace("\"{key}\"", &key["id"].to_string()).replace("{key}", &key["id"].to_string());
    }
    if text.contains("{webhook}") {
        let webhook = json!({"url": "http://127.0.0.1:9/hook", "events": ["never"]});
        let webhook = token.post_json("/api/webhooks", webhook).await.assert_status(201).json();
        text = text.replace("{webhook}", &webhook["id"].to_string());
    }
    if text.contains("{user}") {
        text = text.replace("\"{user}\"", &app.make_user(&format!("user{number}"), false).0.to_string());
    }
    if text.contains("{new-tenant}") {
        text = text.replace("{new-tenant}", &app.make_tenant(&format!("tenant{number}")).0.to_string());
    }
    text
}

/// Sends the body unchanged, and again with `null` for each field of its struct.
async fn check_creation(app: &TestApp, (token, who): (&Person, &Person), creation: &Creation, fields: &[String]) {
    let mut usual = None;
    for (number, field) in [None].into_iter().chain(fields.iter().map(Some)).enumerate() {
        let number = number + 100 * creation.path.len();
        let path = fresh(app, token, number, creation.path).await;
        let body = fresh(app, token, number, &creation.body.to_string()).await;
        let mut body: Map<String, Value> = serde_json::from_str(&body).unwrap();
        if let Some(field) = field {
            body.insert(field.clone(), Value::Null);
        }
        let answer = who.post_json(&path, Value::Object(body)).await;
        match field {
            None => usual = Some(answer.status).filter(|status| (200..300).contains(status)),
            Some(field) if creation.required.contains(&field.as_str()) => drop(answer.assert_invalid(field)),
            Some(field) => assert_eq!(Some(answer.status), usual, "{path}: {field}: {}", answer.body),
        }
    }
    assert!(usual.is_some(), "{} is accepted", creation.path);
}

#[actix_web::test]
async fn null_in_a_post_is_an_absent_field() {
    let app = TestApp::start().await;
    let (token, operator) = (admin(&app).await, app.operator("root").await);
    let instance = app.instance_token_of(&operator, &["*"]);
    let bodies = source::request_bodies();
    for (who, creations) in [(&token, of_a_tenant()), (&instance, of_an_operator())] {
        for creation in creations {
            let (file, name) = creation.place.split_once(' ').unwrap();
            let body = bodies.iter().find(|body| body.file == file && body.name == name).expect(creation.place);
            // `null` is valid data of an event.
            check_creation(&app, (&token, who), &creation, &body.fields).await;
        }
    }
}

#[actix_web::test]
async fn null_inside_a_post_is_an_absent_field_too() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let limit = json!({"name": "burst", "limit": 1, "window_seconds": 1, "per": null});
    let key = super::mint(&token, json!({"limits": [limit], "quota": {"limit": 5, "refill": null}})).await;
    assert_eq!((&key["limits"][0]["per"], &key["quota"]["refill"]), (&json!("key"), &json!(null)));
    let event = json!({"type": "a", "data": null, "idempotency_key": null});
    token.post_json("/api/events/batch", json!({"events": [event]})).await.assert_status(202);
    let fields = source::request_bodies().into_iter().find(|body| body.name == "ReportedBody").unwrap().fields;
    let mut record: Map<String, Value> = fields.into_iter().map(|field| (field, Value::Null)).collect();
    record.insert("key_id".to_owned(), key["id"].clone());
    token.post_json("/api/usage", json!({"records": [record]})).await.assert_status(202);
    let missing = json!({"limits": [{"name": "burst", "limit": null, "window_seconds": 1}], "name": "x"});
    token.post_json("/api/keys", missing).await.assert_invalid("limits[0].limit");
    let missing = json!({"name": "x", "quota": {"limit": null}});
    token.post_json("/api/keys", missing).await.assert_invalid("quota.limit");
}

/// Bodies with the other names of a field as `null`.
fn with_other_names() -> Vec<(&'static str, Value)> {
    let key = json!({"key": "sk_x", "api_key": null, "scopes": ["a"], "required_scopes": null});
    let turned = json!({"key": null, "api_key": "sk_x", "scopes": null, "required_scopes": ["a"]});
    let event = json!({"type": "a.b", "event": null, "data": 1, "payload": null});
    let renamed = json!({"type": null, "event": "a.b", "data": null, "payload": 1});
    let mut bodies = Vec::new();
    for key in [key, turned] {
        bodies.push(("/api/keys/verification", key.clone()));
        bodies.push(("/api/keys/verify", key.clone()));
        bodies.push(("/api/keys/verifications", json!({"verifications": [key]})));
    }
    for event in [event, renamed, json!({"type": "a.b", "data": null, "payload": null})] {
        bodies.push(("/api/events", event.clone()));
        bodies.push(("/api/webhooks/{webhook}/test", event.clone()));
        bodies.push(("/api/events/batch", json!({"events": [event]})));
    }
    for name in ["q", "search", "query", "name"] {
        let mut body = json!({"q": null, "search": null, "query": null, "name": null});
        body[name] = json!("x");
        bodies.push(("/api/keys/search", body.clone()));
        bodies.push(("/api/keys/count", body));
    }
    bodies
}

#[actix_web::test]
async fn null_beside_the_other_name_of_a_field_is_absent() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (number, (path, body)) in with_other_names().into_iter().enumerate() {
        let path = fresh(&app, &token, number, path).await;
        let answer = token.post_json(&path, body.clone()).await;
        assert!((200..300).contains(&answer.status), "{path}: {body}: {}", answer.body);
    }
}

#[actix_web::test]
async fn two_values_under_two_names_of_a_field_are_refused() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let event = json!({"type": "a.b", "event": "a.b", "data": 1, "payload": 1});
    for (path, body, field) in [
        ("/api/events", event.clone(), "type"),
        ("/api/events", event.clone(), "data"),
        ("/api/events/batch", json!({"events": [event]}), "events[0].data"),
        ("/api/keys/verification", json!({"key": "a", "api_key": "a"}), "key"),
        ("/api/keys/verification", json!({"key": "a", "scopes": [], "required_scopes": []}), "scopes"),
        ("/api/keys/search", json!({"q": "a", "name": "a"}), "q"),
    ] {
        token.post_json(path, body).await.assert_invalid(field);
    }
}

#[actix_web::test]
async fn an_event_of_null_stays_null() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for body in [json!({"type": "a.b", "data": null}), json!({"type": "a.b", "payload": null})] {
        let event = token.post_json("/api/events", body).await.assert_status(202).json();
        let shown = token.get(&format!("/api/events/{}", text(&event, "id"))).await.assert_ok().json();
        assert_eq!(shown["data"], json!(null), "{shown}");
    }
}

#[test]
fn every_name_of_a_field_of_a_body_is_a_field_of_its_struct() {
    assert_eq!(source::hidden_names_of_bodies(), Vec::<String>::new(), "serde's alias refuses null beside a value");
}

#[test]
fn every_body_of_the_api_is_in_the_tables() {
    // Structs inside other bodies, which `null_inside_a_post_is_an_absent_field_too` covers.
    const PARTS: [&str; 3] = ["BatchItem", "ReportedBody", "QuotaBody"];
    let listed: Vec<_> = of_a_tenant().into_iter().chain(of_an_operator()).map(|creation| creation.place).collect();
    for body in source::request_bodies() {
        let place = format!("{} {}", body.file, body.name);
        let is_known = body.name == "UpdateBody" || PARTS.contains(&body.name.as_str());
        assert!(is_known || listed.contains(&place.as_str()), "{place} is in no table");
    }
}

#[actix_web::test]
async fn an_empty_name_of_a_webhook_becomes_its_host() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let webhook = json!({"url": "http://127.0.0.1:9/hook", "events": ["*"], "name": "Orders"});
    let webhook = token.post_json("/api/webhooks", webhook).await.assert_status(201).json();
    let path = format!("/api/webhooks/{}", webhook["id"]);
    let changed = token.patch_json(&path, json!({"name": " "})).await.assert_ok().json();
    assert_eq!(text(&changed, "name"), "127.0.0.1");
}

#[actix_web::test]
async fn null_beside_the_other_name_of_a_field_counts_as_absent() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "twins"})).await.assert_status(201).json();
    let secret = text(&key, "secret");
    for (path, body, status) in [
        ("/api/events", json!({"type": "a.b", "event": null, "data": 1}), 202),
        ("/api/events", json!({"type": null, "event": "a.b", "data": 1}), 202),
        ("/api/events", json!({"type": "a.b", "event": null, "data": {"x": null}, "payload": null}), 202),
        ("/api/events", json!({"type": "a.b", "event": null, "data": null}), 202),
        (
            "/api/events/batch",
            json!({"events": [{"type": "a", "event": null, "data": 1}, {"event": "a", "data": 2}]}),
            202,
        ),
        ("/api/keys/verification", json!({"key": secret, "api_key": null}), 200),
        ("/api/keys/verification", json!({"key": secret, "required_scopes": null, "scopes": []}), 200),
        ("/api/keys/search", json!({"q": "twins", "name": null, "search": null}), 200),
        ("/api/keys/count", json!({"search": "twins", "name": null}), 200),
        ("/api/events", json!({"type": "a.b", "event": "a.b", "data": 1}), 422),
        ("/api/events", json!({"type": null, "event": null, "data": 1}), 422),
    ] {
        let answer = program.post_json(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    let events = program.get("/api/events").await.assert_ok().json();
    let payload = |at: usize| events["data"][at].to_string();
    assert!(payload(2).contains("a.b") && events["data"].as_array().unwrap().len() == 6, "{events}");
}

//! `Idempotency-Key` on every route: respected, or refused with 422.

use gatepost::web::routes::{self, Door, Entry};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::admin;
use crate::support::{Answer, Person, TestApp};

/// Fields that only the first response has.
const ONE_TIME: [&str; 4] = ["secret", "api_key", "token", "link"];

/// Route that replays responses: path, body, a changed body, and a list whose length shows the number of effects.
struct Replayed {
    path: String,
    body: Value,
    other: Value,
    list: String,
}

fn replayed(path: &str, body: Value, other: Value, list: &str) -> Replayed {
    Replayed { path: path.to_owned(), body, other, list: list.to_owned() }
}

fn all_replayed(tenant: i64, key: i64) -> Vec<Replayed> {
    let event = |data: i64| json!({"type": "order.created", "data": data});
    let webhook = |name: &str| json!({"url": "http://127.0.0.1:9/hook", "events": ["never"], "name": name});
    let invitations = format!("/api/tenants/{tenant}/invitations");
    let invitation = |role: &str| json!({"email": "new@example.com", "role": role});
    let record = |status: i64| json!({"records": [{"key_id": key, "status": status}]});
    vec![
        replayed("/api/keys", json!({"name": "ci"}), json!({"name": "cd"}), "/api/keys"),
        replayed(
            &format!("/api/keys/{key}/rotation"),
            json!({"overlap_seconds": 60}),
            json!({"overlap_seconds": 61}),
            "/api/keys",
        ),
        replayed("/api/webhooks", webhook("a"), webhook("b"), "/api/webhooks"),
        replayed("/api/events", event(1), event(2), "/api/events"),
        replayed(
            "/api/events/batch",
            json!({"events": [event(1), event(2)]}),
            json!({"events": [event(1)]}),
            "/api/events",
        ),
        replayed("/api/usage", record(200), record(201), "/api/usage/records"),
        replayed("/api/tokens", json!({"name": "a"}), json!({"name": "b"}), "/api/tokens"),
        replayed(&invitations, invitation("viewer"), invitation("developer"), &invitations),
    ]
}

async fn post(who: &Person, path: &str, body: &Value) -> Answer {
    who.with("idempotency-key", "\"once\"").post_json(path, body.clone()).await
}

async fn count(who: &Person, list: &str) -> usize {
    who.get(format!("{list}?limit=100")).await.json()["data"].as_array().map_or(0, Vec::len)
}

fn without_one_time_fields(answer: &Answer) -> Map<String, Value> {
    let mut body = answer.json().as_object().unwrap().clone();
    body.retain(|field, _| !ONE_TIME.contains(&field.as_str()));
    body
}

#[actix_web::test]
async fn a_repeated_request_has_one_effect_and_gets_the_first_response() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = super::mint(&token, json!({})).await["id"].as_i64().unwrap();
    for Replayed { path, body, other, list } in all_replayed(app.tenant.0, key) {
        let first = post(&token, &path, &body).await;
        assert!((200..300).contains(&first.status), "{path}: {}", first.body);
        let made = count(&token, &list).await;
        let again = post(&token, &path, &body).await;

        assert_eq!(again.status, first.status, "{path}: {}", again.body);
        assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"), "{path}");
        assert_eq!(again.header("location"), first.header("location"), "{path}");
        assert_eq!(again.json().as_object().unwrap(), &without_one_time_fields(&first), "{path}");
        assert_eq!(count(&token, &list).await, made, "{path}");
        post(&token, &path, &other).await.assert_problem(422, "idempotency_mismatch");
        assert_eq!(count(&token, &list).await, made, "{path}");
    }
}

#[test]
fn every_route_that_replays_is_in_the_table() {
    let pattern = |path: &str| path.replace("{id}", "1");
    let listed: Vec<_> = all_replayed(1, 1).into_iter().map(|one| one.path).collect();
    for entry in routes::all().into_iter().filter(|entry| entry.is_replayed) {
        let is_alias = entry.path.contains("/api-keys");
        assert!(is_alias || listed.contains(&pattern(&entry.path)), "{}", entry.path);
    }
    assert_eq!(
        routes::all().iter().filter(|entry| entry.is_replayed).count(),
        listed.len() + 4,
        "with two aliases of two"
    );
}

fn is_a_write_of_the_api(entry: &Entry) -> bool {
    let is_of_programs = matches!(entry.door, Door::Api | Door::ApiOrKey) || entry.path.starts_with("/api/");
    is_of_programs && entry.method != Method::GET.as_str()
}

#[actix_web::test]
async fn every_other_write_refuses_the_header() {
    let app = TestApp::start().await;
    let operator = app.operator("root").await;
    let instance = app.instance_token_of(&operator, &["*"]).with("idempotency-key", "once");
    for entry in routes::all().into_iter().filter(|entry| is_a_write_of_the_api(entry) && !entry.is_replayed) {
        let mut path = entry.path.clone();
        for name in ["{id}", "{user}", "{invitation}", "{name}"] {
            path = path.replace(name, "1");
        }
        let method = Method::from_bytes(entry.method.as_str().as_bytes()).unwrap();
        let answer = instance.send(method, &path, Some(("application/json", "{}".to_owned()))).await;
        answer.assert_invalid("Idempotency-Key");
    }
}

#[actix_web::test]
async fn a_verification_answered_before_routing_refuses_the_header_too() {
    let app = TestApp::start_with(&[("GATEPOST_LOG", "info")]).await;
    let token = admin(&app).await;
    let verify = json!({"key": "sk_x"});
    post(&token, "/api/keys/verification", &verify).await.assert_invalid("Idempotency-Key");
    token.post_json("/api/keys/verification", verify).await.assert_ok();
}

#[actix_web::test]
async fn a_read_ignores_the_header() {
    let app = TestApp::start().await;
    admin(&app).await.with("idempotency-key", "once").get("/api/keys").await.assert_ok();
}

#[actix_web::test]
async fn creating_an_instance_token_refuses_the_header() {
    let app = TestApp::start().await;
    let operator = app.operator("root").await;
    let instance = app.instance_token_of(&operator, &["*"]);
    post(&instance, "/api/tokens", &json!({"name": "a"})).await.assert_invalid("Idempotency-Key");
    let named = json!({"name": "a", "tenant_id": app.tenant.0});
    let first = post(&instance, "/api/tokens", &named).await;
    assert_eq!(post(&instance, "/api/tokens", &named).await.json()["id"], first.assert_status(201).json()["id"]);
}

#[actix_web::test]
async fn another_member_with_the_same_idempotency_key_does_not_get_the_first_one_s_token() {
    let app = TestApp::start().await;
    let (ada, bob) = (admin(&app).await, app.admin("bob").await);
    let bob = app.token_of(&bob, &["*"]);
    post(&ada, "/api/tokens", &json!({"name": "a"})).await.assert_status(201);
    post(&bob, "/api/tokens", &json!({"name": "a"})).await.assert_problem(422, "idempotency_mismatch");
}

#[actix_web::test]
async fn a_refused_request_does_not_use_up_its_idempotency_key() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let path = format!("/api/tenants/{}/invitations", app.tenant.0);
    let batch = json!({"events": [{"type": "a b", "data": 1}]});
    post(&token, "/api/events/batch", &batch).await.assert_invalid("events[0].type");
    post(&token, &path, &json!({"email": "no address", "role": "viewer"})).await.assert_invalid("email");
    let batch = json!({"events": [{"type": "a", "data": 1}]});
    post(&token, "/api/events/batch", &batch).await.assert_status(202);
    post(&token, &path, &json!({"email": "new@example.com", "role": "viewer"})).await.assert_status(201);
}

//! Odd input: the server answers without a failure, and errors use the sender's words.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use super::{admin, mint};
use crate::support::{Answer, Person, TestApp};

/// Returns odd values for a field.
fn oddities() -> Vec<String> {
    let plain = [
        "\0",
        "a\0b",
        "💥 🏳️‍🌈",
        "\u{202e}مرحبا",
        "'\"`;--\\\\ %_ ' OR 1=1",
        "%",
        "99999999999999999999",
        "-9223372036854775808",
        "-200000-01-01T00:00:00Z",
        "+262000-01-01T00:00:00Z",
        "+262000-01-01",
        "-262000-01-01",
        "+262000-01-01T00:00",
        "0000-01-01T00:00:00Z",
        "9999-12-31",
        "",
    ];
    plain.into_iter().map(str::to_owned).chain(["a".repeat(5_000), "é".repeat(3_000)]).collect()
}

/// Returns cursors that Gatepost never issued.
fn cursors() -> Vec<String> {
    let far = i64::MAX / 1_200_000;
    let keys = ["\0", "-1", "name:1:a\0", &format!("name:1:{}", "é".repeat(100))].map(str::to_owned);
    let times =
        [far, -far, 0].map(|micros| [format!("last_used:1:{micros}"), format!("{micros}-7"), micros.to_string()]);
    let times = times.into_iter().flatten();
    keys.into_iter().chain(times).map(|key| URL_SAFE_NO_PAD.encode(key)).collect()
}

fn query(path: &str, name: &str, value: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    format!("{path}?{query}")
}

/// Requests a list or page with every odd value in each filter, and returns the responses with a 5xx status.
async fn failures_of_filters(who: &Person, lists: &[(&str, &str)], is_page: bool) -> Vec<String> {
    let mut failed = Vec::new();
    for (path, fields) in lists {
        for field in fields.split_whitespace() {
            let is_place = ["cursor", "before", "after"].contains(&field);
            for value in oddities().into_iter().chain(if is_place { cursors() } else { Vec::new() }) {
                let asked = query(path, field, &value);
                let answer = if is_page { who.visit(&asked).await } else { who.get(&asked).await };
                if 500 <= answer.status {
                    failed.push(format!("{} {}", answer.status, asked.chars().take(120).collect::<String>()));
                }
            }
        }
    }
    failed
}

/// Collects JSON pointers to all values in a body.
pub fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| leaves(inner, &format!("{at}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, inner)| leaves(inner, &format!("{at}/{index}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// Sends a body with every odd value in place of each value, and returns the responses with a 5xx status.
async fn failures_of_bodies(who: &Person, method: &Method, path: &str, body: &Value) -> Vec<String> {
    let (mut places, mut failed) = (Vec::new(), Vec::new());
    leaves(body, "", &mut places);
    let numbers = [json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(1e300), json!([[]]), json!({"": {}})];
    for place in places {
        for odd in oddities().into_iter().map(Value::from).chain(numbers.iter().cloned()) {
            let mut sent = body.clone();
            *sent.pointer_mut(&place).unwrap() = odd;
            let answer = who.send(method.clone(), path, Some(("application/json", sent.to_string()))).await;
            if 500 <= answer.status {
                failed.push(format!(
                    "{} {method} {path} {place} {:.160}",
                    answer.status,
                    sent.pointer(&place).unwrap()
                ));
            }
        }
    }
    failed
}

const LISTS: [(&str, &str); 17] = [
    (
        "/api/keys",
        "limit cursor offset sort q state environment user_id owner scope tag unused_days expiring_days tenant tenant_id",
    ),
    ("/api/keys?sort=name", "cursor"),
    ("/api/keys/count", "q owner scope tag is_active unused_days expiring_days"),
    ("/api/keys/1/usage", "since until bucket group_by format"),
    ("/api/webhooks", "limit cursor offset q state tenant"),
    ("/api/webhooks/1/deliveries", "webhook_id event_id state type status since until cursor"),
    ("/api/events", "type since until cursor offset limit tenant"),
    ("/api/deliveries", "webhook_id event_id state type status since until cursor offset"),
    ("/api/webhook-logs", "webhook_id delivery_id event_id type success status since until cursor offset"),
    ("/api/usage", "since until bucket group_by format tenant"),
    ("/api/usage/records", "key_id outcome refused request_id since until cursor offset"),
    ("/api/audit", "actor action target since until cursor offset tenant"),
    ("/api/tenants", "q state limit offset tenant"),
    ("/api/tenants/1/members", "q cursor offset"),
    ("/api/tokens", "limit cursor offset tenant"),
    ("/api/users", "limit offset"),
    ("/api/webhooks/1/statistics", "tenant"),
];

const PAGES: [(&str, &str); 18] = [
    ("/", "range from to"),
    ("/keys", "q state environment owner scope tag unused_days expiring_days sort before after"),
    ("/keys.csv", "q state owner scope tag unused_days expiring_days sort"),
    ("/keys/1", "range from to"),
    ("/keys/bulk-revocation", "ids"),
    ("/webhooks", "q before after"),
    ("/webhooks/1", "range from to"),
    ("/events", "type before after"),
    ("/deliveries", "type state status webhook event since until before after"),
    ("/usage", "range from to group"),
    ("/usage.csv", "range from to group"),
    ("/usage/records", "request key outcome before after"),
    ("/audit", "of actor action target from to before after"),
    ("/audit.csv", "of actor action target from to"),
    ("/members", "q before after"),
    ("/tokens", "before after"),
    ("/operator/tenants", "q state before after"),
    ("/operator/users", "q before after"),
];

/// Returns three callers: a program with Ada's token, an operator with a session in `acme`, and a program with the
/// operator's instance token. The operator can do everything.
async fn people(app: &TestApp) -> (Person, Person, Person) {
    let (token, oscar) = (admin(app).await, app.operator("oscar").await);
    let hook = json!({"url": "http://127.0.0.1:9/hook", "events": ["never.happens"], "is_active": false});
    token.post_json("/api/webhooks", hook).await.assert_status(201);
    mint(&token, json!({})).await;
    oscar.submit("/tenant", &[("tenant", &app.tenant.to_string())]).await.assert_status(303);
    let instance = app.instance_token_of(&oscar, &["*"]);
    (token, oscar, instance)
}

#[actix_web::test]
async fn odd_values_in_filters_of_lists_cause_no_5xx() {
    let app = TestApp::start().await;
    let (token, _, _) = people(&app).await;
    let failed = failures_of_filters(&token, &LISTS, false).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[actix_web::test]
async fn odd_values_in_filters_of_lists_over_all_tenants_cause_no_5xx() {
    let app = TestApp::start().await;
    let (_, _, instance) = people(&app).await;
    let failed = failures_of_filters(&instance, &LISTS, false).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[actix_web::test]
async fn odd_values_in_filters_of_pages_cause_no_5xx() {
    let app = TestApp::start().await;
    let (_, oscar, _) = people(&app).await;
    let failed = failures_of_filters(&oscar, &PAGES, true).await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Returns JSON bodies of programs, with a value in every field.
pub fn bodies() -> Vec<(Method, &'static str, Value)> {
    let key = json!({
        "name": "n", "description": "d", "environment": "live", "prefix": "fp", "scopes": ["a"], "rate_limit": 5,
        "rate_window_seconds": 60, "limits": [{"name": "burst", "limit": 1, "window_seconds": 1, "per": "key"}],
        "quota": {"limit": 5, "refill": "daily"}, "allowed_ips": ["::1"], "owner": "o", "metadata": {"a": "b"},
        "tags": ["t"], "expires_at": "2999-01-01T00:00:00Z",
    });
    let hook = json!({
        "name": "n", "url": "http://127.0.0.1:9/", "events": ["a.b"], "secret": "s".repeat(32), "is_active": false,
        "payload_format": "raw", "signature_style": "hex", "timeout_seconds": 5, "max_in_flight": 5,
        "rate_per_second": 5, "retry_schedule": [5], "headers": {"x-team": "a"},
    });
    let record = json!({
        "key_id": 1, "endpoint": "/a", "method": "GET", "status": 200, "duration_ms": 1, "outcome": "VALID",
        "ip": "::1", "request_id": "r", "at": "2999-01-01T00:00:00Z",
    });
    let verification = json!({
        "key": "sk_x", "secret": "s", "scopes": ["a"], "ip": "::1", "environment": "live", "cost": 1,
        "endpoint": "/a", "method": "GET", "tenant": "acme",
    });
    let post = |path, body| (Method::POST, path, body);
    vec![
        post("/api/keys", key),
        (
            Method::PATCH,
            "/api/keys/1",
            json!({"name": "n", "owner": "o", "metadata": {"a": "b"}, "expires_at": "2999-01-01T00:00:00Z"}),
        ),
        post("/api/keys/1/rotation", json!({"overlap_seconds": 7})),
        post("/api/keys/1/deactivation", json!({})),
        post("/api/keys/lookup", json!({"key": "x", "tenant": "acme"})),
        post(
            "/api/keys/search",
            json!({"q": "x", "owner": "o", "tag": "t", "scope": "s", "unused_days": 1, "cursor": "x"}),
        ),
        post("/api/keys/bulk-tagging", json!({"ids": [1], "add": ["a"], "remove": ["b"]})),
        post("/api/keys/bulk-revocation", json!({"ids": [4242], "reason": "r"})),
        post("/api/keys/verification", verification.clone()),
        post("/api/keys/verifications", json!({"verifications": [verification]})),
        post("/api/webhooks", hook),
        post("/api/webhooks/1/test", json!({"type": "a.b", "data": {"a": "b"}})),
        post("/api/webhooks/1/secret-rotation", json!({"overlap_seconds": 7})),
        post("/api/events", json!({"type": "a.b", "data": {"a": "b"}, "idempotency_key": "k", "tenant": "acme"})),
        post("/api/events/batch", json!({"events": [{"type": "a.b", "data": "x", "idempotency_key": "k"}]})),
        post("/api/usage", json!({"records": [record]})),
        post("/api/tokens", json!({"name": "n", "scopes": ["keys:read"], "expires_at": "2999-01-01T00:00:00Z"})),
        post("/api/tenants/1/invitations", json!({"email": "a@b.c", "role": "viewer", "expires_in_days": 1})),
        (
            Method::PATCH,
            "/api/tenants/1",
            json!({"name": "acme", "key_prefix": "sk", "time_zone": "UTC", "updated_at": "2020-01-01T00:00:00Z"}),
        ),
    ]
}

pub fn bodies_of_operators() -> Vec<(Method, &'static str, Value)> {
    vec![
        (Method::POST, "/api/tenants/1/members", json!({"email": "a@b.c", "role": "viewer"})),
        (Method::POST, "/api/tenants", json!({"name": "n", "slug": "s", "plan": "free"})),
        (Method::POST, "/api/tenants/4242/suspension", json!({"reason": "r"})),
        (Method::POST, "/api/users", json!({"email": "a@b.c", "name": "n", "password": "short"})),
        (Method::PATCH, "/api/users/1", json!({"name": "n"})),
        (
            Method::PATCH,
            "/api/plans/pro",
            json!({"max_keys": 5, "max_rate_limit": 5, "updated_at": "2020-01-01T00:00:00Z"}),
        ),
        (Method::POST, "/api/auth/login", json!({"email": "a@b.c", "password": "p", "code": "c", "tenant": "acme"})),
    ]
}

#[actix_web::test]
async fn odd_values_in_fields_of_bodies_cause_no_5xx() {
    let app = TestApp::start().await;
    let (token, oscar, instance) = people(&app).await;
    let mut failed = Vec::new();
    for (method, path, body) in bodies() {
        failed.extend(failures_of_bodies(&token, &method, path, &body).await);
    }
    for (method, path, body) in bodies_of_operators() {
        failed.extend(failures_of_bodies(&instance, &method, path, &body).await);
    }
    let login = json!({"email": oscar.email, "password": crate::support::people::PASSWORD, "tenant": "a\0"});
    let answer = app.stranger().post_json("/api/auth/login", login).await;
    answer.assert_problem(404, "not_found");
    let form = [("email", "a\0@b.c"), ("password", "no password of anybody's")];
    let answer = app.stranger().submit("/sign-in", &form).await;
    answer.assert_status(422);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[actix_web::test]
async fn an_impossible_time_is_refused_by_field() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let own = format!("/api/keys/{}/usage", key["id"]);
    let lists =
        ["/api/events", "/api/deliveries", "/api/webhook-logs", "/api/audit", "/api/usage", "/api/usage/records"];
    for path in lists.into_iter().chain([own.as_str()]) {
        for field in ["since", "until"] {
            for time in ["-200000-01-01T00:00:00Z", "+200000-01-01T00:00:00Z", "yesterday"] {
                token.get(query(path, field, time)).await.assert_invalid(field);
            }
        }
    }
    let late = json!({"name": "ci", "expires_at": "+262000-01-01T00:00:00Z"});
    token.post_json("/api/tokens", late.clone()).await.assert_invalid("expires_at");
    token.post_json("/api/keys", late).await.assert_invalid("expires_at");
}

async fn post(person: &Person, path: &str, body: &str) -> Answer {
    person.send(Method::POST, path, Some(("application/json", body.to_owned()))).await
}

#[actix_web::test]
async fn an_array_in_place_of_an_object_is_refused() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let revocation = format!("/api/keys/{}/revoke", key["id"]);
    let arrays = [
        ("/api/auth/login", r#"["ada@example.com", "a password", null, null, null]"#, "body"),
        (revocation.as_str(), r#"["leaked"]"#, "body"),
        ("/api/keys/verification", r#" ["sk_x"]"#, "body"),
        ("/api/keys/verifications", r#"{"verifications": [["sk_x"]]}"#, "verifications[0]"),
        ("/api/events/batch", r#"{"events": [["a.b", {}, null]]}"#, "events[0]"),
        ("/api/usage", r#"{"records": [[1]]}"#, "records[0]"),
        ("/api/keys", r#"{"name": "ci", "quota": [5, "daily"]}"#, "quota"),
        ("/api/keys", r#"{"name": "ci", "limits": [["burst", 1, 1, "key"]]}"#, "limits[0]"),
        ("/api/keys", "7", "body"),
        ("/api/keys", "null", "body"),
    ];
    for (path, body, field) in arrays {
        let problem = post(&token, path, body).await.assert_invalid(field);
        let said = problem["errors"][0]["detail"].as_str().unwrap();
        assert_eq!(said, "must be an object");
    }
    assert_eq!(token.get(format!("/api/keys/{}", key["id"])).await.json()["state"], "active");
}

#[actix_web::test]
async fn an_error_names_the_field_and_uses_the_words_of_json() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let wrong = [
        (r#"{"name": "a", "name": "b"}"#, "name", "must be given once"),
        (r#"{"name": "a", "rate_limit": "5"}"#, "rate_limit", "must be a whole number"),
        (r#"{"name": "a", "scopes": {}}"#, "scopes", "must be an array"),
        (r#"{"name": "a", "is_active": 1}"#, "is_active", "must be true or false"),
    ];
    for (body, field, says) in wrong {
        let problem = post(&token, "/api/keys", body).await.assert_invalid(field);
        assert_eq!(problem["errors"][0]["detail"], says);
    }
    let bytes = b"{\"name\": \"\xff\xfe\"}".to_vec();
    let sent = token.client.post(format!("{}/api/keys", token.base)).headers(token.headers.clone()).body(bytes);
    let problem = Answer::read(sent.send().await.unwrap()).await.assert_problem(400, "malformed_json");
    assert_eq!(problem["detail"], "the body is not JSON: line 1, column 11: the body has to be UTF-8");
}

#[actix_web::test]
async fn an_error_names_the_field_as_the_request_spelled_it() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let hook = json!({"url": "http://127.0.0.1:9/", "events": ["a.b"], "retry_schedule": [1, 0]});
    token.post_json("/api/webhooks", hook).await.assert_invalid("retry_schedule[1]");
    token.post_json("/api/usage", json!({"records": [{"key": "sk_x"}]})).await.assert_invalid("records[0].key");
    let event = json!({"type": "a.b", "data": {}});
    let keyed = token.with("idempotency-key", "");
    keyed.post_json("/api/events", event.clone()).await.assert_invalid("Idempotency-Key");
    let both = json!({"type": "a.b", "data": {}, "idempotency_key": "one"});
    let other = token.with("idempotency-key", "two");
    other.post_json("/api/events", both.clone()).await.assert_invalid("idempotency_key");
    token.with("idempotency-key", "\"one\"").post_json("/api/events", both).await.assert_status(202);
    let mut twice = token.clone();
    for key in ["three", "four"] {
        twice.headers.append("idempotency-key", key.parse().unwrap());
    }
    twice.post_json("/api/events", event).await.assert_invalid("Idempotency-Key");
    twice.post_json("/api/keys", json!({"name": "ci"})).await.assert_invalid("Idempotency-Key");
}

#[actix_web::test]
async fn a_401_names_the_expected_credential() {
    let app = TestApp::start().await;
    let stranger = app.stranger();
    let wrong = stranger.with("authorization", "Bearer gpat_oops");
    for path in ["/api/keys/verification", "/api/keys/verify", "/api/keys", "/api/webhooks"] {
        let answer = stranger.post_json(path, json!({"key": "x"})).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"gatepost\"");
        let answer = wrong.post_json(path, json!({"key": "x"})).await;
        answer.assert_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"gatepost\", error=\"invalid_token\"");
    }
}

#[actix_web::test]
async fn a_repeated_creation_gets_the_first_response_even_after_changes() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let hook =
        json!({"name": "first", "url": "http://127.0.0.1:9/hook", "events": ["a.b"], "headers": {"x-team": "ours"}});
    let rotated = format!("/api/keys/{}/rotation", mint(&token, json!({"name": "first"})).await["id"]);
    let creations = [
        ("/api/keys", json!({"name": "first", "limits": [{"name": "burst", "limit": 1, "window_seconds": 1}]})),
        ("/api/webhooks", hook),
        (rotated.as_str(), json!({})),
    ];
    for (path, body) in creations {
        let once = token.with("idempotency-key", "once");
        let first = once.post_json(path, body.clone()).await;
        let mut told = first.assert_status(201).json();
        ["secret", "api_key"].iter().for_each(|field| drop(told.as_object_mut().unwrap().remove(*field)));
        let place = first.header("location").to_owned();
        token.patch_json(&place, json!({"name": "second"})).await.assert_ok();
        for deletion in [false, true] {
            if deletion {
                token.delete(&place).await.assert_status(204);
            }
            let again = once.post_json(path, body.clone()).await;
            assert_eq!(again.assert_status(201).json(), told);
            assert_eq!((again.header("idempotent-replayed"), again.header("location")), ("true", place.as_str()));
            assert_eq!(again.header("cache-control"), "no-store");
        }
    }
}

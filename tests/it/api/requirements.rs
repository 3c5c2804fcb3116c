//! Requests to the four services that Gatepost replaces, as their clients send them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{admin, mint, text};
use crate::support::{Answer, Person, Receiver, TestApp};

/// Sends a request like `curl -d`, unless it names a content type.
async fn call(who: &Person, method: &str, path: &str, body: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    who.send(method, path, Some(("application/x-www-form-urlencoded", body.to_owned()))).await
}

#[track_caller]
fn assert_fields(answer: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        assert!(answer.get(field).is_some(), "{field} in {answer}");
    }
}

#[actix_web::test]
async fn clients_of_the_keys_and_webhooks_service_work() {
    let app = TestApp::start().await;
    let (token, receiver) = (admin(&app).await, Receiver::start().await);
    let key = token.post_json("/api/api-keys", json!({"name": "Production Key"})).await.assert_status(201).json();
    assert_fields(&key, "key secret name id is_active last_used_at expires_at");
    assert!(text(&key, "key").starts_with("pk_") && text(&key, "secret").starts_with("sk_"));
    let webhook = json!({"name": "Order Notifications", "url": receiver.url,
        "events": ["order.created", "order.shipped"], "is_active": true});
    let webhook = token.post_json("/api/webhooks", webhook).await.assert_status(201).json();
    assert!(text(&webhook, "secret").starts_with("whsec_"));

    let pair = app.stranger().with("x-api-key", text(&key, "key")).with("x-api-secret", text(&key, "secret"));
    pair.get("/api/data").await.assert_ok();
    let none = app.stranger().get("/api/data").await;
    assert_eq!(none.assert_status(401).json()["detail"], "API key required");
    let wrong = app.stranger().with("x-api-key", text(&key, "key")).with("x-api-secret", "sk_wrong");
    assert_eq!(wrong.get("/api/data").await.assert_status(401).json()["detail"], "Invalid API key");

    token.publish("order.created", json!({"id": 7})).await;
    receiver.wait_for(1).await;
    for path in ["/api/api-keys", "/api/webhooks", "/api/webhook-logs"] {
        let list = token.get(format!("{path}?limit=10&offset=0")).await.assert_ok().json();
        assert_fields(&list, "data next_cursor");
    }
    let path = format!("/api/webhooks/{}", webhook["id"]);
    token.get(&path).await.assert_ok();
    token.patch_json(&path, json!({"is_active": false})).await.assert_ok();
    token.delete(&path).await.assert_status(204);
}

#[actix_web::test]
async fn clients_of_the_multi_tenant_service_work() {
    let app = TestApp::start().await;
    let (token, operator) = (admin(&app).await, app.operator("root").await);
    let instance = app.instance_token_of(&operator, &["*"]);
    let body = format!(r#"{{"name": "Production Key", "tenant_id": {}}}"#, app.tenant.0);
    for who in [&token, &instance] {
        call(who, "POST", "/api/keys", &body).await.assert_status(201);
    }
    call(&token, "POST", "/api/keys", r#"{"name": "x", "tenant_id": 999}"#).await.assert_status(404);
    let key = mint(&token, json!({"prefix": "fp", "scopes": []})).await;
    assert_eq!((text(&key, "secret").get(..3), &key["rate_limit"]), (Some("fp_"), &json!(1000)));

    let data = app.key(text(&key, "secret")).get("/api/data").await;
    assert_eq!(data.assert_ok().header("x-ratelimit-limit"), "1000");
    assert_eq!(data.header("x-ratelimit-remaining"), "999");
    let usage = token.get(format!("/api/keys/{}/usage", key["id"])).await.assert_ok().json();
    assert_fields(&usage, "total remaining buckets by_endpoint by_status");
    assert_eq!(usage["total"], 1);
}

#[actix_web::test]
async fn clients_of_the_key_router_work() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let ask = json!({"name": "one", "description": "d", "is_active": true, "scopes": ["read"], "expires_at": null});
    let one = token.post_json("/api-keys", ask).await.assert_status(201).json();
    assert_fields(&one, "api_key id name description is_active created_at last_used_at expires_at scopes");
    token.post_json("/api-keys", json!({"name": "two", "is_active": false})).await.assert_status(201);
    let list = token.get("/api-keys?offset=1&limit=1").await.assert_ok().json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["total"]), (1, &json!(2)));

    let path = format!("/api-keys/{}", one["id"]);
    token.get(&path).await.assert_ok();
    let change = json!({"name": "first", "description": "e", "is_active": false, "clear_expires": true});
    let changed = token.patch_json(&path, change).await.assert_ok().json();
    assert_eq!((text(&changed, "name"), &changed["is_active"]), ("first", &json!(false)));
    token.post_json(format!("{path}/activate"), json!({})).await.assert_ok();
    token.post_json(format!("{path}/deactivate"), json!({})).await.assert_ok();
    token.post_json(format!("{path}/activate"), json!({})).await.assert_ok();
    let verify = json!({"api_key": one["api_key"], "required_scopes": ["read"]});
    assert_eq!(token.post_json("/api-keys/verify", verify).await.assert_ok().json()["valid"], true);
    let guarded = app.key(text(&one, "api_key")).get("/protected/").await.assert_ok().json();
    assert_fields(&guarded, "message apiKey");
    assert_fields(&guarded["apiKey"], "id name description isActive createdAt expiresAt lastUsedAt");
    token.delete(&path).await.assert_status(204);
}

#[actix_web::test]
async fn search_and_count_accept_the_key_router_s_fields() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for (name, is_active) in [("a", true), ("b", true), ("c", false)] {
        mint(&token, json!({"name": name, "is_active": is_active})).await;
    }
    let names = |answer: &Answer| -> Vec<String> {
        answer.json()["data"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect()
    };
    for path in ["/api-keys/search", "/api/keys/search", "/api/api-keys/search/"] {
        let active = token.post_json(format!("{path}?offset=0&limit=50"), json!({"is_active": true})).await;
        assert_eq!((names(active.assert_ok()), &active.json()["total"]), (vec!["b".into(), "a".into()], &json!(2)));
        let second = token.post_json(format!("{path}?offset=1&limit=1"), json!({"is_active": true})).await;
        assert_eq!((names(second.assert_ok()), &second.json()["total"]), (vec!["a".into()], &json!(2)));
    }
    for (body, expected) in [(json!({"is_active": false}), 1), (json!({"is_active": null}), 3), (json!({}), 3)] {
        let count = token.post_json("/api-keys/count", body).await.assert_ok().json();
        assert_eq!((&count["count"], &count["total"]), (&json!(expected), &json!(expected)));
    }
    let count = token.get("/api/keys/count?is_active=true&q=a").await.assert_ok().json();
    assert_eq!(count["count"], 1);
    let listed = token.get("/api-keys?is_active=false").await;
    assert_eq!(names(&listed), ["c"]);
}

#[actix_web::test]
async fn paging_parameters_in_both_query_and_body_are_refused() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let search = |query: &str, body: Value| token.post_json(format!("/api-keys/search?{query}"), body);
    search("limit=5", json!({"limit": 6})).await.assert_invalid("limit");
    search("limit=0", json!({})).await.assert_invalid("limit");
    search("offset=-1", json!({})).await.assert_invalid("offset");
    search("is_active=true", json!({})).await.assert_invalid("is_active");
    token.post_json("/api/keys?limit=5", json!({"name": "x"})).await.assert_invalid("limit");
}

#[actix_web::test]
async fn clients_of_the_scoped_keys_service_work() {
    let app = TestApp::start_with(&[("GATEPOST_ALLOW_QUERY_KEY", "true")]).await;
    let token = admin(&app).await;
    let ask = json!({"name": "scoped", "description": "d", "scopes": ["inventory:write"],
        "requires_owner": true, "expires_at": "2999-01-01T00:00:00+00:00"});
    let key = token.post_json("/api/keys", ask).await.assert_status(201).json();
    assert_fields(&key, "key_prefix description user_id scopes secret api_key");
    app.stranger().get(format!("/api/data?api_key={}", text(&key, "secret"))).await.assert_ok();
    for (content_type, body) in [("text/plain", ""), ("application/json", "{}")] {
        let path = format!("/api/keys/{}/revoke", key["id"]);
        let revoked = token.send(Method::POST, &path, Some((content_type, body.to_owned()))).await;
        assert_eq!(revoked.assert_ok().json(), json!({"message": "API key revoked"}));
    }
    let refused = app.key(text(&key, "secret")).get("/api/data").await;
    assert_eq!(refused.assert_status(401).json()["detail"], "API key is disabled");
    token.post_json("/api/keys/999/revoke", json!({})).await.assert_status(404);
}

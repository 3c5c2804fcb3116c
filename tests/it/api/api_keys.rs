//! `/api/keys`: creation, lists, changes, revocation, and refused requests.

use diesel::prelude::*;
use gatepost::domain::Role;
use gatepost::schema::{api_keys, audit_entries};
use reqwest::Method;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Answer, TestApp};

#[actix_web::test]
async fn a_key_is_minted_and_its_secret_shown_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;

    let answer = token.post_json("/api/keys", json!({"name": "Production Key"})).await;

    answer.assert_status(201);
    assert_eq!(answer.header("cache-control"), "no-store");
    let key = answer.json();
    assert_eq!(answer.header("location"), path(&key, ""));
    let (id, secret) = (text(&key, "key"), text(&key, "secret"));
    assert!(id.starts_with("pk_") && id.len() == 25);
    assert!(secret.starts_with("sk_") && secret.len() == 3 + 71);
    assert_eq!(&id[3..], &secret[3..25]);
    assert_eq!(text(&key, "api_key"), secret);
    assert_eq!(text(&key, "hint"), format!("{}…{}", &secret[..7], &secret[70..]));
    assert_eq!(text(&key, "key_prefix"), &secret[..7]);
    let defaults = json!({
        "tenant_id": app.tenant.0, "name": "Production Key", "description": null, "environment": "live", "scopes": [],
        "rate_limit": 1000, "rate_window_seconds": 3600, "quota": null, "allowed_ips": [], "owner": null, "requires_owner": false,
        "metadata": {}, "tags": [], "state": "active", "is_active": true, "expires_at": null, "last_used_at": null,
        "revoked_at": null, "rotated_from": null,
    });
    for (field, value) in defaults.as_object().unwrap() {
        assert_eq!(&key[field], value, "{field}");
    }
    let shown = token.get(path(&key, "")).await.assert_ok().json();
    assert!(shown.get("secret").is_none() && shown.get("api_key").is_none());
    assert_eq!(shown["key"], key["key"]);
}

#[actix_web::test]
async fn a_repeated_request_makes_one_key_and_shows_its_secret_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let once = token.with("idempotency-key", "\"8e03978e\"");
    let first = once.post_json("/api/keys", json!({"name": "ci"})).await;
    let again = token.with("idempotency-key", "8e03978e").post_json("/api/keys", json!({"name": "ci"})).await;
    let (one, two) = (first.assert_status(201).json(), again.assert_status(201).json());
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!(one["id"], two["id"]);
    assert!(one.get("secret").is_some() && two.get("secret").is_none() && two.get("api_key").is_none());
    once.post_json("/api/keys", json!({"name": "other"})).await.assert_problem(422, "idempotency_mismatch");
    token
        .with("idempotency-key", "")
        .post_json("/api/keys", json!({"name": "ci"}))
        .await
        .assert_invalid("Idempotency-Key");
    // A refused request does not use up its idempotency key.
    let wrong = token.with("idempotency-key", "another");
    wrong.post_json("/api/keys", json!({"name": ""})).await.assert_invalid("name");
    wrong.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201);
}

#[actix_web::test]
async fn no_secret_is_stored_in_any_column() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Text)]
        row: String,
    }
    let sql = "SELECT k::text AS row FROM api_keys k UNION ALL SELECT a::text FROM audit_entries a";
    let rows: Vec<Row> = diesel::sql_query(sql).load(&mut app.conn()).unwrap();
    assert!(rows.len() >= 2);
    // Secret part of the key, between id and checksum.
    let part = &text(&key, "secret")[25..68];
    assert!(rows.iter().all(|row| !row.row.contains(part)));
}

#[actix_web::test]
async fn the_default_content_type_of_curl_is_read_as_json() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let body = format!(r#"{{"name": "Production Key", "tenant_id": {}}}"#, app.tenant);
    let form = Some(("application/x-www-form-urlencoded", body.clone()));
    token.send(Method::POST, "/api/keys", form).await.assert_status(201);
    let answer = token.send(Method::POST, "/api/keys", Some(("text/plain", body))).await;
    answer.assert_problem(415, "unsupported_media_type");
}

#[actix_web::test]
async fn a_key_can_be_created_with_every_setting() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let asked = json!({
        "name": "Orders", "description": "for the shop", "environment": "test", "scopes": ["orders:read", "orders:*"],
        "rate_limit": 5, "rate_window_seconds": 60, "allowed_ips": ["203.0.113.9/24", "2001:db8::1"], "owner": "customer-7",
        "requires_owner": true, "metadata": {"plan": "gold"}, "tags": ["shop", "eu"], "is_active": false,
        "expires_at": "2099-01-01T00:00:00Z", "prefix": "fp",
    });
    let key = token.post_json("/api/keys", asked.clone()).await.assert_status(201).json();
    assert!(text(&key, "secret").starts_with("fp_test_"));
    for (field, value) in
        asked.as_object().unwrap().iter().filter(|(field, _)| !["prefix", "allowed_ips"].contains(&field.as_str()))
    {
        assert_eq!(&key[field], value, "{field}");
    }
    assert_eq!(key["allowed_ips"], json!(["203.0.113.0/24", "2001:db8::1"]));
    assert_eq!(key["state"], "disabled");
}

#[actix_web::test]
async fn an_invalid_field_is_refused_by_name() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let long = "x".repeat(101);
    let wrong = [
        (json!({}), "name"),
        (json!({"name": null}), "name"),
        (json!({"name": ""}), "name"),
        (json!({"name": long}), "name"),
        (json!({"name": "a\u{0}b"}), "name"),
        (json!({"name": 7}), "name"),
        (json!({"name": "a", "scopes": "all"}), "scopes"),
        (json!({"name": "a", "scopes": ["ok", "not ok"]}), "scopes[1]"),
        (json!({"name": "a", "scopes": ["ok", 7]}), "scopes[1]"),
        (json!({"name": "a", "rate_limit": 0}), "rate_limit"),
        (json!({"name": "a", "rate_limit": -1}), "rate_limit"),
        (json!({"name": "a", "rate_limit": 1.5}), "rate_limit"),
        (json!({"name": "a", "rate_window_seconds": 2_592_001}), "rate_window_seconds"),
        (json!({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}), "expires_at"),
        (json!({"name": "a", "expires_at": "tomorrow"}), "expires_at"),
        (json!({"name": "a", "allowed_ips": ["10.0.0.0/40"]}), "allowed_ips[0]"),
        (json!({"name": "a", "environment": "staging"}), "environment"),
        (json!({"name": "a", "prefix": "whsec"}), "prefix"),
        (json!({"name": "a", "metadata": []}), "metadata"),
        (json!({"name": "a", "metadata": {"note": "x".repeat(20_000)}}), "metadata"),
        (json!({"name": "a", "role": "admin"}), "role"),
        (json!({"name": "a", "user_id": 1}), "user_id"),
    ];
    for (body, field) in wrong {
        token.post_json("/api/keys", body).await.assert_invalid(field);
    }
    let send = |body: &'static str| token.send(Method::POST, "/api/keys", Some(("application/json", body.to_owned())));
    send("{\"name\": ").await.assert_problem(400, "malformed_json");
    send("{\"name\": \"a\"} {}").await.assert_problem(400, "malformed_json");
    let huge = token.post_json("/api/keys", json!({"name": "a", "description": "x".repeat(300_000)})).await;
    huge.assert_problem(413, "too_large");
    let method = token.send(Method::PUT, "/api/keys", None).await;
    method.assert_problem(405, "method_not_allowed");
    assert!(method.header("allow").contains("POST"));
    let count: i64 = api_keys::table.count().get_result(&mut app.conn()).unwrap();
    assert_eq!(count, 0, "nothing half written");
}

#[actix_web::test]
async fn keys_are_listed_by_offset_and_by_cursor() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for number in 1..=5 {
        mint(&token, json!({"name": format!("key {number}")})).await;
    }
    let names = |list: &Value| {
        list["data"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect::<Vec<_>>()
    };
    let page = token.get("/api/keys?limit=2&offset=1").await.assert_ok().json();
    assert_eq!((names(&page), page["total"].clone()), (vec!["key 4".to_owned(), "key 3".to_owned()], json!(5)));
    let first = token.get("/api/keys?limit=3").await.assert_ok().json();
    assert!(first.get("total").is_none());
    let next = token.get(format!("/api/keys?limit=3&cursor={}", text(&first, "next_cursor"))).await.assert_ok().json();
    assert_eq!(names(&next), ["key 2", "key 1"]);
    assert_eq!(next["next_cursor"], Value::Null);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=junk", "cursor"),
        ("offset=-1", "offset"),
        ("colour=red", "colour"),
    ] {
        token.get(format!("/api/keys?{query}")).await.assert_invalid(field);
    }
}

#[actix_web::test]
async fn keys_are_searched_and_counted() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let one = mint(&token, json!({"name": "100% cotton", "tags": ["shop"], "owner": "customer-7"})).await;
    let two = mint(&token, json!({"name": "other", "environment": "test"})).await;
    token.post_json(path(&two, "/deactivation"), json!({})).await.assert_ok();
    let found = |body: Value| {
        let token = token.clone();
        async move { token.post_json("/api/keys/search", body).await.assert_ok().json()["data"].as_array().unwrap().len() }
    };
    for text in ["COTTON", "cot 100", "100% c", "shop", "customer-7", text(&one, "key"), text(&one, "key_prefix")] {
        assert_eq!(found(json!({"q": text})).await, 1, "{text}");
    }
    for nothing in ["otton", "_", "%%", "cotton' | 'other", "zzzzzzzz\u{0}"] {
        assert_eq!(found(json!({"q": nothing})).await, 0, "{nothing}");
    }
    assert_eq!(found(json!({"state": "disabled"})).await, 1);
    assert_eq!(found(json!({"state": "active", "environment": "live"})).await, 1);
    assert_eq!(token.get("/api/keys/count").await.assert_ok().json(), json!({"count": 2, "total": 2}));
    assert_eq!(token.get("/api/keys/count?state=revoked").await.assert_ok().json(), json!({"count": 0, "total": 0}));
    token.post_json("/api/keys/search", json!({"state": "asleep"})).await.assert_invalid("state");
}

#[actix_web::test]
async fn a_patch_changes_only_the_named_fields_and_null_clears_a_field() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"description": "old", "owner": "me", "expires_at": "2099-01-01T00:00:00Z"})).await;
    let changed = token
        .patch_json(path(&key, ""), json!({"name": "new", "description": null, "expires_at": null}))
        .await
        .assert_ok()
        .json();
    assert_eq!((text(&changed, "name"), text(&changed, "owner")), ("new", "me"));
    assert_eq!((&changed["description"], &changed["expires_at"]), (&Value::Null, &Value::Null));
    let same = token.patch_json(path(&key, ""), json!({})).await.assert_ok().json();
    assert_eq!(same["updated_at"], changed["updated_at"]);
    token.patch_json(path(&key, ""), json!({"tenant_id": 9})).await.assert_invalid("tenant_id");
    token.patch_json(path(&key, ""), json!({"rate_limit": "many"})).await.assert_invalid("rate_limit");
    token.patch_json(path(&key, ""), json!({"expires_at": "2001-01-01T00:00:00Z"})).await.assert_invalid("expires_at");
}

#[actix_web::test]
async fn a_key_can_be_deactivated_activated_and_revoked_for_good() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    assert_eq!(token.post_json(path(&key, "/deactivate"), json!({})).await.assert_ok().json()["state"], "disabled");
    assert_eq!(token.post_json(path(&key, "/activation"), json!({})).await.assert_ok().json()["state"], "active");
    for body in
        [None, Some(("text/plain", "{}".to_owned())), Some(("application/json", r#"{"reason": "again"}"#.to_owned()))]
    {
        let answer = token.send(Method::POST, &path(&key, "/revoke"), body).await;
        assert_eq!(answer.assert_ok().json(), json!({"message": "API key revoked"}));
    }
    let shown = token.get(path(&key, "")).await.assert_ok().json();
    assert_eq!(
        (&shown["state"], &shown["revoked_reason"]),
        (&json!("revoked"), &Value::Null),
        "the first revocation stands"
    );
    token.post_json(path(&key, "/activation"), json!({})).await.assert_problem(409, "conflict");
    token.patch_json(path(&key, ""), json!({"is_active": true})).await.assert_problem(409, "conflict");
    assert_eq!(token.get(path(&key, "")).await.json()["state"], "revoked");
}

#[actix_web::test]
async fn a_deleted_key_is_gone() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    token.delete(path(&key, "")).await.assert_status(204);
    token.get(path(&key, "")).await.assert_problem(404, "not_found");
    token.delete(path(&key, "")).await.assert_problem(404, "not_found");
    app.key(text(&key, "secret")).get("/protected/").await.assert_problem(401, "invalid_api_key");
    assert_eq!(token.get("/api/keys").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn every_change_is_in_the_audit_log() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    token.patch_json(path(&key, ""), json!({"name": "b"})).await.assert_ok();
    token.post_json(path(&key, "/revocation"), json!({"reason": "leaked"})).await.assert_ok();
    token.delete(path(&key, "")).await.assert_status(204);
    let target = format!("api_key:{}", key["id"]);
    let entries: Vec<(String, String)> = audit_entries::table
        .filter(audit_entries::target.eq(target))
        .order(audit_entries::id)
        .select((audit_entries::action, audit_entries::actor))
        .load(&mut app.conn())
        .unwrap();
    let actions: Vec<_> = entries.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["api_key.minted", "api_key.updated", "api_key.revoked", "api_key.deleted"]);
    assert!(entries.iter().all(|(_, actor)| actor == "ada@example.com"));
}

#[actix_web::test]
async fn the_older_paths_lead_to_the_same_keys() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for root in ["/api/api-keys", "/api-keys"] {
        let key = token.post_json(root, json!({"name": "ci"})).await.assert_status(201).json();
        let id = &key["id"];
        token.get(format!("{root}/{id}")).await.assert_ok();
        token.patch_json(format!("{root}/{id}"), json!({"description": "x"})).await.assert_ok();
        token.get(format!("{root}?limit=1&offset=0")).await.assert_ok();
        let verified =
            token.post_json(format!("{root}/verify"), json!({"key": key["secret"]})).await.assert_ok().json();
        assert_eq!(verified["code"], "VALID");
        token.post_json(format!("{root}/{id}/revoke"), json!({})).await.assert_ok();
        token.delete(format!("{root}/{id}")).await.assert_status(204);
    }
    app.stranger().get("/api-keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn another_tenant_s_keys_are_not_found() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, Role::Owner).await;
    let eve = crate::support::Person::with_token(
        &app.base,
        &app.mint_token(gatepost::domain::UserId(eve.user_id), Some(other), &["*"]),
    );
    eve.get(path(&key, "")).await.assert_problem(404, "not_found");
    eve.get(path(&key, "/usage")).await.assert_problem(404, "not_found");
    eve.patch_json(path(&key, ""), json!({"name": "mine"})).await.assert_problem(404, "not_found");
    eve.delete(path(&key, "")).await.assert_problem(404, "not_found");
    for act in ["/revocation", "/revoke", "/activation", "/deactivation"] {
        eve.post_json(path(&key, act), json!({})).await.assert_problem(404, "not_found");
    }
    assert_eq!(eve.get("/api/keys?offset=0").await.json(), json!({"data": [], "next_cursor": null, "total": 0}));
    eve.post_json("/api/keys", json!({"name": "x", "tenant_id": app.tenant.0})).await.assert_problem(404, "not_found");
    eve.get(format!("/api/keys?tenant_id={}", app.tenant)).await.assert_problem(404, "not_found");
    let verdict = eve.post_json("/api/keys/verification", json!({"key": key["secret"]})).await.assert_ok().json();
    assert_eq!((&verdict["code"], &verdict["key"]), (&json!("NOT_FOUND"), &Value::Null));
    for id in ["999999", "0", "x", "99999999999999999999"] {
        eve.get(format!("/api/keys/{id}")).await.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn an_instance_token_names_the_tenant() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let token = app.instance_token_of(&olga, &["*"]);
    token.post_json("/api/keys", json!({"name": "x"})).await.assert_invalid("tenant_id");
    token.post_json("/api/keys", json!({"name": "x", "tenant_id": 999})).await.assert_problem(404, "not_found");
    let by_id =
        token.post_json("/api/keys", json!({"name": "x", "tenant_id": app.tenant.0})).await.assert_status(201).json();
    token.post_json("/api/keys", json!({"name": "x", "tenant": "acme"})).await.assert_status(201);
    assert_eq!(token.get("/api/keys").await.json()["data"].as_array().unwrap().len(), 2);
    token.get(path(&by_id, "")).await.assert_ok();
    token.post_json(path(&by_id, "/revocation"), json!({})).await.assert_ok();
}

#[actix_web::test]
async fn roles_and_scopes_are_enforced() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (vera, dan) = (app.viewer("vera").await, app.developer("dan").await);
    let (viewer, developer) = (app.token_of(&vera, &["*"]), app.token_of(&dan, &["*"]));
    let hers = mint(&app.token_of(&ada, &["*"]), json!({})).await;
    let his = mint(&developer, json!({})).await;
    assert_eq!(his["user_id"], dan.user_id);
    viewer.get(path(&hers, "")).await.assert_ok();
    viewer.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    viewer.post_json(path(&hers, "/revoke"), json!({})).await.assert_problem(403, "forbidden");
    developer.patch_json(path(&his, ""), json!({"name": "x"})).await.assert_ok();
    developer.patch_json(path(&hers, ""), json!({"name": "x"})).await.assert_problem(403, "forbidden");
    developer.delete(path(&hers, "")).await.assert_problem(403, "forbidden");
    let reader = app.token_of(&ada, &["keys:read"]);
    reader.get("/api/keys").await.assert_ok();
    let refused = reader.post_json("/api/keys", json!({"name": "x"})).await.assert_problem(403, "forbidden");
    assert_eq!(refused["detail"], "Missing required scopes: keys:write");
    app.token_of(&ada, &["webhooks:read"]).get("/api/keys").await.assert_problem(403, "forbidden");
    app.stranger().get("/api/keys").await.assert_problem(401, "unauthenticated");
    app.key(text(&hers, "secret")).get("/api/keys").await.assert_problem(401, "unauthenticated");
}

#[actix_web::test]
async fn fields_of_the_replaced_service_keep_their_meaning() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let ask = json!({"name": "ci", "scopes": ["orders:read"], "expires_at": "2999-01-01T00:00:00Z"});
    let key = token.post_json("/api-keys/", ask).await.assert_status(201).json();
    for (asked, code) in
        [(json!(["orders:read"]), "VALID"), (json!(["orders:write"]), "INSUFFICIENT_SCOPE"), (json!(null), "VALID")]
    {
        let ask = json!({"api_key": key["api_key"], "required_scopes": asked});
        assert_eq!(token.post_json("/api-keys/verify", ask).await.assert_ok().json()["code"], code);
    }
    let place = format!("/api-keys/{}", key["id"]);
    token.patch_json(&place, json!({"description": "d"})).await.assert_ok();
    assert!(token.get(&place).await.json()["expires_at"].is_string());
    token.patch_json(&place, json!({"clear_expires": true})).await.assert_ok();
    assert_eq!(token.get(&place).await.json()["expires_at"], Value::Null);
}

#[actix_web::test]
async fn a_slash_at_the_end_of_a_path_makes_no_difference() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = token.post_json("/api-keys/", json!({"name": "ci"})).await.assert_status(201).json();
    assert_eq!(token.get("/api-keys/?offset=0&limit=2").await.assert_ok().json()["total"], 1);
    assert_eq!(token.get(format!("/api/keys/{}/", key["id"])).await.assert_ok().json()["name"], "ci");
    token.post_json("/api/keys/verification/", json!({"key": key["secret"]})).await.assert_ok();
    token.delete("/api-keys/").await.assert_problem(405, "method_not_allowed");
    token.get("/api/keys//").await.assert_problem(404, "not_found");
}

#[actix_web::test]
async fn a_key_never_gets_rights_in_gatepost_that_its_creator_lacks() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let (all, narrow) = (app.token_of(&ada, &["*"]), app.token_of(&ada, &["keys:*", "events:read"]));
    let refused = |answer: Answer, scopes: &str| {
        let detail = answer.assert_problem(403, "forbidden")["detail"].clone();
        assert_eq!(detail, format!("Missing required scopes: {scopes}"));
    };
    let ask = |scopes: Value| json!({"name": "ci", "scopes": scopes});
    refused(narrow.post_json("/api/keys", ask(json!(["events:write"]))).await, "events:write");
    refused(narrow.post_json("/api/keys", ask(json!(["orders:read", "events:*"]))).await, "events:write");
    refused(narrow.post_json("/api/keys", ask(json!(["usage:*"]))).await, "usage:write");
    refused(narrow.post_json("/api/keys", ask(json!(["*"]))).await, "events:write, usage:write");
    let own = mint(&narrow, json!({"scopes": ["orders:*", "events:read", "usage:read"]})).await;
    let wide = mint(&all, json!({"scopes": ["*"]})).await;

    let (own, wide) = (format!("/api/keys/{}", own["id"]), format!("/api/keys/{}", wide["id"]));
    refused(narrow.patch_json(&own, json!({"scopes": ["events:write"]})).await, "events:write");
    refused(narrow.post_json(format!("{wide}/rotation"), json!({})).await, "events:write, usage:write");
    narrow.post_json(format!("{own}/rotation"), json!({})).await.assert_status(201);
    narrow.patch_json(&wide, json!({"name": "renamed", "scopes": ["*"]})).await.assert_ok();
    narrow.patch_json(&wide, json!({"scopes": ["orders:*"]})).await.assert_ok();
    refused(narrow.patch_json(&wide, json!({"scopes": ["*"]})).await, "events:write, usage:write");
    narrow.post_json(format!("{wide}/revocation"), json!({})).await.assert_ok();
    // Pages check only the role, and developers can publish.
    let dan = app.developer("dan").await;
    mint(&app.token_of(&dan, &["*"]), json!({"scopes": ["*"]})).await;
}

//! Routes for API keys: valid and refused keys, error responses, limits, and the number of SQL statements.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::app::App;
use gatepost::domain::{Role, TenantId};
use gatepost::schema::{api_keys, users};
use gatepost::services::Operator;
use gatepost::services::tenants::{self, TenantChange};
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::{Person, TestApp, secrets, settings, statements};

const DATA: &str = "/api/data";

#[actix_web::test]
async fn a_key_is_presented_in_four_ways() {
    let app = TestApp::start_with(&[("GATEPOST_ALLOW_QUERY_KEY", "true")]).await;
    let key = mint(&admin(&app).await, json!({"prefix": "fp"})).await;
    let (id, secret) = (text(&key, "key"), text(&key, "secret"));
    let nobody = app.stranger();
    nobody.with("x-api-key", id).with("x-api-secret", secret).get(DATA).await.assert_ok();
    nobody.with("x-api-key", secret).get(DATA).await.assert_ok();
    nobody.with("authorization", &format!("Bearer {secret}")).get(DATA).await.assert_ok();
    nobody.get(format!("{DATA}?api_key={secret}")).await.assert_ok();
    nobody.with("x-api-key", secret).with("authorization", "Bearer their.own.token").get(DATA).await.assert_ok();
}

#[actix_web::test]
async fn a_key_in_the_query_counts_only_where_it_is_allowed() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let answer = app.stranger().get(format!("{DATA}?api_key={}", text(&key, "secret"))).await;
    answer.assert_problem(401, "api_key_required");
}

#[actix_web::test]
async fn refused_keys_get_the_documented_errors() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let (key, other) = (mint(&token, json!({})).await, mint(&token, json!({})).await);
    let (id, secret) = (text(&key, "key"), text(&key, "secret"));
    let nobody = app.stranger();

    for person in [nobody.clone(), nobody.with("x-api-key", id), nobody.with("x-api-secret", secret)] {
        let answer = person.get(DATA).await;
        let problem = answer.assert_problem(401, "api_key_required");
        assert_eq!(problem["detail"], "API key required");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"gatepost\"");
    }
    let (mistyped, unknown) = (secrets::mistyped(secret), secrets::unknown());
    let wrong = secrets::with_id_of(secret, &unknown);
    let mut bodies = Vec::new();
    for presented in [mistyped.as_str(), &unknown, &wrong, "sk_junk", "junk", &"x".repeat(5000)] {
        let answer = app.key(presented).get(DATA).await;
        let mut problem = answer.assert_problem(401, "invalid_api_key");
        assert_eq!(problem["detail"], "Invalid API key");
        assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
        assert_eq!(answer.header("x-ratelimit-limit"), "", "nobody learns which ids exist");
        problem["request_id"] = Value::Null;
        bodies.push(problem);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let pair = nobody.with("x-api-key", id).with("x-api-secret", text(&other, "secret"));
    pair.get(DATA).await.assert_problem(401, "invalid_api_key");
    let two = nobody.with("x-api-key", secret).with("authorization", &format!("Bearer {}", text(&other, "secret")));
    two.get(DATA).await.assert_problem(400, "conflicting_credentials");
}

#[actix_web::test]
async fn disabled_revoked_and_expired_keys_get_different_errors_at_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let soon = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    let key = mint(&token, json!({"expires_at": soon})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get(DATA).await.assert_ok();

    token.post_json(path(&key, "/deactivation"), json!({})).await.assert_ok();
    assert_eq!(holder.get(DATA).await.assert_problem(401, "api_key_disabled")["detail"], "API key is disabled");
    token.post_json(path(&key, "/activation"), json!({})).await.assert_ok();
    holder.get(DATA).await.assert_ok();
    app.advance(TimeDelta::minutes(5));
    assert_eq!(holder.get(DATA).await.assert_problem(401, "api_key_expired")["detail"], "API key has expired");
    token.patch_json(path(&key, ""), json!({"expires_at": null})).await.assert_ok();
    holder.get(DATA).await.assert_ok();
    token.post_json(path(&key, "/revocation"), json!({})).await.assert_ok();
    let answer = holder.get(DATA).await;
    answer.assert_problem(401, "api_key_disabled");
    assert!(answer.header("www-authenticate").contains("error=\"invalid_token\""));
    assert_eq!(answer.header("x-ratelimit-limit"), "1000", "every answer to a key carries them");
}

#[actix_web::test]
async fn a_key_revoked_at_one_replica_is_refused_at_the_other_within_a_second() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let other = App::start(settings::for_test(&app.database.url, &[]), app.clock.clone()).await.unwrap();
    let there = Person::stranger(&format!("http://{}", other.addr)).with("x-api-key", text(&key, "secret"));
    there.get("/protected/").await.assert_ok();

    token.post_json(path(&key, "/revocation"), json!({})).await.assert_ok();

    there.within_a_second("/protected/", 401).await.assert_problem(401, "api_key_disabled");
    other.stop().await;
}

#[actix_web::test]
async fn a_suspended_tenant_s_keys_are_refused() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get(DATA).await.assert_ok();
    let suspend = |is_active| {
        let change = TenantChange { is_active: Some(is_active), ..TenantChange::default() };
        app.tx(|tx| tenants::update(tx, &Operator::at_the_console(), app.tenant, change)).unwrap();
        app.running().state.hear(&gatepost::store::notify::Change::Tenant(app.tenant));
    };
    suspend(false);
    holder.get(DATA).await.assert_problem(403, "tenant_suspended");
    suspend(true);
    holder.get(DATA).await.assert_ok();
}

#[actix_web::test]
async fn a_key_that_requires_its_owner_is_refused_when_the_owner_is_deactivated() {
    let app = TestApp::start().await;
    let dan = app.developer("dan").await;
    let token = app.token_of(&dan, &["*"]);
    let (tied, free) = (mint(&token, json!({"requires_owner": true})).await, mint(&token, json!({})).await);
    app.key(text(&tied, "secret")).get(DATA).await.assert_ok();
    diesel::update(users::table.filter(users::id.eq(dan.user_id)))
        .set(users::is_active.eq(false))
        .execute(&mut app.conn())
        .unwrap();
    app.running().state.hear(&gatepost::store::notify::Change::Access);
    let problem = app.key(text(&tied, "secret")).get(DATA).await.assert_problem(401, "owner_inactive");
    assert_eq!(problem["detail"], "User not found or inactive");
    app.key(text(&free, "secret")).get(DATA).await.assert_ok();
}

#[actix_web::test]
async fn a_key_works_only_from_its_allowed_addresses() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let near = mint(&token, json!({"allowed_ips": ["127.0.0.0/8", "::1"]})).await;
    let far = mint(&token, json!({"allowed_ips": ["203.0.113.7"]})).await;
    app.key(text(&near, "secret")).get(DATA).await.assert_ok();
    app.key(text(&far, "secret")).get(DATA).await.assert_problem(403, "address_not_allowed");
    // Only a trusted proxy can name the client's address.
    let forged = app.key(text(&far, "secret")).with("x-forwarded-for", "203.0.113.7");
    forged.get(DATA).await.assert_problem(403, "address_not_allowed");
}

#[actix_web::test]
async fn the_limit_is_in_the_headers_and_enforced() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({"rate_limit": 3, "rate_window_seconds": 60})).await;
    let holder = app.key(text(&key, "secret"));
    for remaining in ["2", "1", "0"] {
        let answer = holder.get("/protected/").await;
        answer.assert_ok();
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("3", remaining));
        assert_eq!(answer.header("ratelimit-policy"), "\"key\";q=3;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"key\";r={remaining};t=")));
        assert!(answer.header("x-ratelimit-reset").parse::<i64>().unwrap() > app.clock.now().timestamp());
        assert_eq!(answer.header("retry-after"), "");
    }
    let refused = holder.get("/protected/").await;
    let problem = refused.assert_problem(429, "rate_limited");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["violated-policies"], json!(["key"]));
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=61).contains(&wait));
    app.advance(TimeDelta::seconds(wait));
    holder.get("/protected/").await.assert_ok();
}

#[actix_web::test]
async fn an_error_of_a_handler_has_the_limit_headers_too() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let answer = app.key(text(&key, "secret")).get("/api/data?limit=0").await;
    answer.assert_invalid("limit");
    assert_eq!(answer.header("x-ratelimit-remaining"), "999");
}

#[actix_web::test]
async fn a_restart_resets_no_limit() {
    let mut app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({"rate_limit": 3})).await;
    let secret = text(&key, "secret").to_owned();
    for _ in 0..2 {
        app.key(&secret).get("/protected/").await.assert_ok();
    }
    app.stop().await;
    let running = App::start(settings::for_test(&app.database.url, &[]), app.clock.clone()).await.unwrap();
    app.base = format!("http://{}", running.addr);
    app.running = Some(running);
    let answer = app.key(&secret).get("/protected/").await;
    assert_eq!(answer.assert_ok().header("x-ratelimit-remaining"), "0");
    app.key(&secret).get("/protected/").await.assert_problem(429, "rate_limited");
}

#[actix_web::test]
async fn verifying_a_cached_key_runs_no_sql() {
    statements::record();
    // Usage must be written later than this test takes.
    let app = TestApp::start_with(&[("GATEPOST_USAGE_FLUSH_MS", "10000")]).await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    app.until_all_is_heard(&token).await;
    let holder = app.key(text(&key, "secret"));
    let verify = json!({"key": key["secret"]});
    let named = json!({"key": key["secret"], "tenant": "acme"});
    let olga = app.operator("olga").await;
    let instance = app.instance_token_of(&olga, &["keys:verify"]);
    holder.get("/protected/").await.assert_ok();
    token.post_json("/api/keys/verification", verify.clone()).await.assert_ok();
    instance.post_json("/api/keys/verification", named.clone()).await.assert_ok();
    let before = statements::so_far();
    assert!(before.iter().any(|sql| sql.contains("api_keys")), "statements are recorded");

    for _ in 0..20 {
        holder.get("/protected/").await.assert_ok();
        token.post_json("/api/keys/verification", verify.clone()).await.assert_ok();
        holder.get("/auth?tenant=acme").await.assert_ok();
        instance.post_json("/api/keys/verification", named.clone()).await.assert_ok();
        token.post_json("/api/keys/verifications", json!({"verifications": [verify, verify]})).await.assert_ok();
        app.key(&secrets::unknown()[..70]).get("/protected/").await.assert_problem(401, "invalid_api_key");
    }

    assert_eq!(statements::so_far()[before.len()..], [] as [String; 0]);
}

#[actix_web::test]
async fn the_guarded_endpoint_answers_in_the_older_form() {
    let app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({"description": "d"})).await;
    for place in ["/protected/", "/protected"] {
        let body = app.key(text(&key, "secret")).get(place).await.assert_ok().json();
        assert!(!text(&body, "message").is_empty());
        let shown = &body["apiKey"];
        assert_eq!((&shown["id"], &shown["name"], &shown["description"]), (&key["id"], &json!("ci"), &json!("d")));
        assert_eq!((&shown["isActive"], &shown["createdAt"]), (&json!(true), &key["created_at"]));
        assert!(shown.get("expiresAt").is_some() && shown.get("lastUsedAt").is_some());
    }
    app.stranger().get("/protected/").await.assert_problem(401, "api_key_required");
}

#[actix_web::test]
async fn a_key_sees_its_tenant_s_events_with_the_scope_and_else_its_own() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let reader = app.key(text(&mint(&token, json!({"scopes": ["events:read"]})).await, "secret"));
    let writing = mint(&token, json!({"scopes": ["events:write"]})).await;
    let other = app.make_tenant("other");
    publish(&app, app.tenant, None, "order.first");
    publish(&app, app.tenant, writing["id"].as_i64(), "order.second");
    publish(&app, other, None, "order.theirs");
    let kinds = |list: Value| {
        list["data"].as_array().unwrap().iter().map(|event| text(event, "type").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(reader.get(DATA).await.assert_ok().json()), ["order.second", "order.first"]);
    let own = app.key(text(&writing, "secret")).get(DATA).await.assert_ok().json();
    assert_eq!(own["data"][0]["data"], json!({"n": 1}));
    assert_eq!(kinds(own), ["order.second"]);
}

fn publish(app: &TestApp, tenant: TenantId, key: Option<i64>, kind: &str) {
    use gatepost::domain::EventId;
    use gatepost::schema::events;
    let row = (
        events::id.eq(EventId::generate()),
        events::tenant_id.eq(tenant),
        events::type_.eq(kind),
        events::payload.eq(r#"{"n": 1}"#),
        events::api_key_id.eq(key),
        events::created_at.eq(app.clock.now()),
    );
    diesel::insert_into(events::table).values(row).execute(&mut app.conn()).unwrap();
}

/// Replaces the server of `app` with a new one on the same database, with these settings.
pub async fn restart(app: &mut TestApp, extra: &[(&str, &str)]) {
    app.stop().await;
    let running = App::start(settings::for_test(&app.database.url, extra), app.clock.clone()).await.unwrap();
    app.base = format!("http://{}", running.addr);
    app.running = Some(running);
}

#[actix_web::test]
async fn argon2id_can_be_chosen_and_older_digests_still_work() {
    let mut app = TestApp::start_with(&[("GATEPOST_KEY_HASH", "argon2id")]).await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let stored = |app: &TestApp| -> (String, String) {
        api_keys::table.select((api_keys::hash_algorithm, api_keys::digest)).first(&mut app.conn()).unwrap()
    };
    assert!(stored(&app).1.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    for _ in 0..3 {
        app.key(text(&key, "secret")).get(DATA).await.assert_ok();
        app.key(&secrets::with_id_of(text(&key, "secret"), &secrets::unknown()))
            .get(DATA)
            .await
            .assert_problem(401, "invalid_api_key");
        app.key(&secrets::unknown()).get(DATA).await.assert_problem(401, "invalid_api_key");
    }
    restart(&mut app, &[]).await;
    app.key(text(&key, "secret")).get(DATA).await.assert_ok();
    until_redigested(&app, || stored(&app).0 == "hmac-sha256").await;
    app.key(text(&key, "secret")).get(DATA).await.assert_ok();
}

#[actix_web::test]
async fn a_key_digested_with_a_retired_pepper_gets_a_new_digest() {
    let mut app = TestApp::start().await;
    let key = mint(&admin(&app).await, json!({})).await;
    let pepper =
        |app: &TestApp| -> String { api_keys::table.select(api_keys::pepper_id).first(&mut app.conn()).unwrap() };
    let old = pepper(&app);
    let retired = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, settings::PEPPER);
    let retired = format!("{old}:{retired}");
    let peppers =
        [("API_KEY_PEPPER", "Zr1vW0xJ5mT7nB3kD9hF2sL6pC4yGaXuEiOoRtYwq8"), ("API_KEY_PEPPERS_OLD", retired.as_str())];
    restart(&mut app, &peppers).await;
    app.key(text(&key, "secret")).get(DATA).await.assert_ok();
    until_redigested(&app, || pepper(&app) != old).await;
    app.key(text(&key, "secret")).get(DATA).await.assert_ok();
}

/// Sends requests until the background update of the digest is done.
async fn until_redigested(app: &TestApp, is_done: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_done() {
            return;
        }
        app.stranger().get("/healthz").await.assert_ok();
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the key was not digested anew");
}

#[actix_web::test]
async fn a_key_never_sees_events_of_another_tenant() {
    let app = TestApp::start().await;
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, Role::Owner).await;
    let eve =
        Person::with_token(&app.base, &app.mint_token(gatepost::domain::UserId(eve.user_id), Some(other), &["*"]));
    let theirs = mint(&eve, json!({"scopes": ["*"]})).await;
    publish(&app, app.tenant, None, "order.ours");
    let seen = app.key(text(&theirs, "secret")).get(DATA).await.assert_ok().json();
    assert_eq!(seen["data"], json!([]));
}

//! `/api/webhooks`.

mod sealed;

use serde_json::json;

use crate::support::{Receiver, TestApp};

#[actix_web::test]
async fn creating_a_webhook_returns_its_id_and_secret() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program
        .post_json(
            "/api/webhooks",
            json!({"name": "Order Notifications", "url": "https://myapp.com/webhooks/orders",
            "events": ["order.created", "order.shipped"], "is_active": true}),
        )
        .await;
    answer.assert_status(201);
    let made = answer.json();
    assert_eq!(answer.header("location"), format!("/api/webhooks/{}", made["id"]));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!((&made["state"], &made["payload_format"]), (&json!("active"), &json!("standard")));

    let shown = program.get(format!("/api/webhooks/{}", made["id"])).await;
    assert!(shown.assert_ok().json().get("secret").is_none());
    let listed = program.get("/api/webhooks?offset=0").await.assert_ok().json();
    assert_eq!((&listed["total"], listed["data"][0].get("secret")), (&json!(1), None));
}

#[actix_web::test]
async fn the_name_defaults_to_the_host_and_a_client_can_choose_the_secret() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let ask = json!({"url": "https://hooks.example.com/x", "events": ["*"], "secret": "our own"});
    let made = program.post_json("/api/webhooks", ask).await.assert_status(201).json();
    assert_eq!((&made["name"], &made["secret"]), (&json!("hooks.example.com"), &json!("our own")));
}

#[actix_web::test]
async fn a_repeated_request_makes_one_webhook_and_shows_its_secret_once() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let once = program.with("idempotency-key", "\"hook-7\"");
    let ask = json!({"url": "https://hooks.example.com/x", "events": ["*"], "ed25519": true});
    let first = once.post_json("/api/webhooks", ask.clone()).await.assert_status(201).json();
    let again = once.post_json("/api/webhooks", ask).await;
    assert_eq!(again.assert_status(201).header("idempotent-replayed"), "true");
    let again = again.json();
    assert_eq!((&again["id"], &again["public_keys"]), (&first["id"], &first["public_keys"]));
    assert!(first["secret"].is_string() && again.get("secret").is_none(), "{again}");
    let other = json!({"url": "https://hooks.example.com/y", "events": ["*"]});
    once.post_json("/api/webhooks", other.clone()).await.assert_problem(422, "idempotency_mismatch");
    assert_eq!(program.get("/api/webhooks?offset=0").await.json()["total"], 1);
    let wrong = program.with("idempotency-key", "another");
    wrong.post_json("/api/webhooks", json!({"url": "x", "events": ["*"]})).await.assert_invalid("url");
    wrong.post_json("/api/webhooks", other).await.assert_status(201);
}

#[actix_web::test]
async fn an_invalid_field_is_refused_by_name_and_nothing_is_stored() {
    let app =
        TestApp::start_with(&[("GATEPOST_ALLOW_PRIVATE_NETWORKS", ""), ("GATEPOST_ALLOW_HTTP_WEBHOOKS", "false")])
            .await;
    let program = app.program().await;
    let table = [
        (json!({"events": ["*"]}), "url"),
        (json!({"url": "https://example.com"}), "events"),
        (json!({"url": "https://example.com", "events": []}), "events"),
        (json!({"url": "https://example.com", "events": ["a", "b c"]}), "events[1]"),
        (json!({"url": "https://example.com", "events": ["a", 7]}), "events[1]"),
        (json!({"url": "http://example.com", "events": ["*"]}), "url"),
        (json!({"url": "https://127.0.0.1/", "events": ["*"]}), "url"),
        (json!({"url": "https://localhost/", "events": ["*"]}), "url"),
        (json!({"url": "https://u:p@example.com/", "events": ["*"]}), "url"),
        (json!({"url": "https://example.com", "events": ["*"], "name": "x".repeat(101)}), "name"),
        (json!({"url": "https://example.com", "events": ["*"], "timeout_seconds": 61}), "timeout_seconds"),
        (json!({"url": "https://example.com", "events": ["*"], "payload_format": "xml"}), "payload_format"),
        (json!({"url": "https://example.com", "events": ["*"], "headers": {"Host": "x"}}), "headers"),
        (json!({"url": "https://example.com", "events": ["*"], "headers": {"x-team": "••••"}}), "headers"),
        (json!({"url": "https://example.com", "events": ["*"], "secret": "whsk_6Xb/dCcHpPea"}), "secret"),
        (json!({"url": "https://example.com", "events": ["*"], "signing_key": "whsec_abc"}), "signing_key"),
        (json!({"url": "https://example.com", "events": ["*"], "surprise": 1}), "surprise"),
    ];
    for (ask, field) in table {
        program.post_json("/api/webhooks", ask).await.assert_invalid(field);
    }
    assert_eq!(program.get("/api/webhooks?offset=0").await.json()["total"], 0);
}

#[actix_web::test]
async fn a_webhook_is_changed_paused_and_deleted() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({})).await;
    let path = format!("/api/webhooks/{}", made["id"]);
    let changed = program.patch_json(&path, json!({"name": "Renamed", "events": ["order.*"]})).await.assert_ok().json();
    assert_eq!(
        (&changed["name"], &changed["events"], &changed["url"]),
        (&json!("Renamed"), &json!(["order.*"]), &made["url"])
    );
    let paused = program.post_json(format!("{path}/deactivation"), json!({})).await.assert_ok().json();
    assert_eq!((&paused["state"], &paused["is_active"]), (&json!("paused"), &json!(false)));
    let published = program.publish("order.created", json!({})).await;
    assert_eq!(published["deliveries"], 0);
    program.post_json(format!("{path}/test"), json!({})).await.assert_problem(409, "conflict");
    let active = program.post_json(format!("{path}/activation"), json!({})).await.assert_ok().json();
    assert_eq!(active["state"], "active");
    program.delete(&path).await.assert_status(204);
    program.get(&path).await.assert_problem(404, "not_found");
    assert_eq!(program.get("/api/webhooks?offset=0").await.json()["total"], 0);
}

#[actix_web::test]
async fn another_tenant_s_webhook_is_not_found() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({})).await;
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, gatepost::domain::Role::Owner).await;
    let token = app.mint_token(gatepost::domain::UserId(eve.user_id), Some(other), &["*"]);
    let theirs = crate::support::Person::with_token(&app.base, &token);
    let path = format!("/api/webhooks/{}", made["id"]);
    theirs.get(&path).await.assert_problem(404, "not_found");
    theirs.patch_json(&path, json!({"name": "x"})).await.assert_problem(404, "not_found");
    theirs.delete(&path).await.assert_problem(404, "not_found");
    for act in ["activation", "deactivation", "test", "secret-rotation"] {
        theirs.post_json(format!("{path}/{act}"), json!({})).await.assert_problem(404, "not_found");
    }
    theirs.get(format!("{path}/secret")).await.assert_problem(404, "not_found");
    theirs.get(format!("{path}/deliveries")).await.assert_problem(404, "not_found");
    assert_eq!(theirs.get("/api/webhooks").await.json()["data"], json!([]));
}

#[actix_web::test]
async fn reading_a_secret_writes_an_audit_entry() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({})).await;
    let answer = program.get(format!("/api/webhooks/{}/secret", made["id"])).await;
    assert_eq!(
        (answer.assert_ok().json()["secret"].clone(), answer.header("cache-control")),
        (made["secret"].clone(), "no-store")
    );
    use diesel::prelude::*;
    use gatepost::schema::audit_entries;
    let noted: Vec<String> = audit_entries::table
        .filter(audit_entries::action.eq("webhook.secret_revealed"))
        .select(audit_entries::target)
        .load(&mut app.conn())
        .unwrap();
    assert_eq!(noted, [format!("webhook:{}", made["id"])]);
}

#[actix_web::test]
async fn a_test_event_goes_only_to_its_webhook() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (one, two) = (Receiver::start().await, Receiver::start().await);
    let made = program.subscribe(&one, json!({"events": ["order.created"]})).await;
    program.subscribe(&two, json!({})).await;
    let sent = program.post_json(format!("/api/webhooks/{}/test", made["id"]), json!({})).await;
    let event = sent.assert_status(202).json();
    assert_eq!(event["deliveries"], 1);
    let received = one.wait_for(1).await;
    assert_eq!(received[0].header("x-webhook-event"), "webhook.test");
    assert_eq!(program.delivery_once(&event, "delivered", 1).await["attempts_max"], 1);
    assert!(two.received().is_empty());
}

#[actix_web::test]
async fn a_test_event_is_never_one_of_gatepost_s_own_types() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({})).await;
    let path = format!("/api/webhooks/{}/test", made["id"]);
    for own in
        ["api_key.revoked", "Api_Key.Revoked", "webhook.disabled", "webhook.probe", "webhook.test.x", "WEBHOOK.TEST"]
    {
        for ask in [json!({"type": own}), json!({"event": own, "payload": {"api_key": {"id": 1}}})] {
            let problem = program.post_json(&path, ask).await.assert_invalid("type");
            assert_eq!(problem["errors"][0]["code"], "reserved", "{own}");
        }
    }
    assert!(receiver.received().is_empty());
}

#[actix_web::test]
async fn a_test_event_can_have_a_type_that_the_tenant_publishes() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({})).await;
    let ask = json!({"type": "order.created", "data": {"id": 7}});
    program.post_json(format!("/api/webhooks/{}/test", made["id"]), ask).await.assert_status(202);
    assert_eq!(receiver.wait_for(1).await[0].header("x-webhook-event"), "order.created");
}

#[actix_web::test]
async fn a_developer_cannot_change_webhooks_created_on_the_command_line() {
    let app = TestApp::start().await;
    let dora = app.developer("dora").await;
    let developer = app.token_of(&dora, &["*"]);
    let made = developer.post_json("/api/webhooks", json!({"url": "https://x.example/", "events": ["*"]})).await;
    let id = made.assert_status(201).json()["id"].clone();
    let path = format!("/api/webhooks/{id}");
    developer.patch_json(&path, json!({"name": "Mine"})).await.assert_ok();
    // Webhooks created on the command line belong to no user.
    use diesel::prelude::*;
    use gatepost::schema::webhooks;
    let no_one = webhooks::user_id.eq(None::<gatepost::domain::UserId>);
    diesel::update(webhooks::table).set(no_one).execute(&mut app.conn()).unwrap();
    developer.patch_json(&path, json!({"name": "Mine"})).await.assert_problem(403, "forbidden");
    developer.post_json(format!("{path}/test"), json!({})).await.assert_problem(403, "forbidden");
}

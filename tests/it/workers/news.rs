//! Events about keys that a tenant's webhooks receive.

use chrono::TimeDelta;
use gatepost::store::Db;
use gatepost::workers::remind;
use serde_json::{Value, json};

use crate::support::receiver::Received;
use crate::support::{Receiver, TestApp};

fn event_of(request: &Received) -> (String, Value) {
    (request.header("x-webhook-event").to_owned(), serde_json::from_str(&request.text()).unwrap())
}

#[actix_web::test]
async fn webhooks_get_events_about_created_rotated_and_revoked_keys_without_secrets() {
    let app = TestApp::start().await;
    let program = app.program().await;
    // No webhook is subscribed, so no event is stored.
    program.post_json("/api/keys", json!({"name": "before"})).await.assert_status(201);
    assert!(program.get("/api/events").await.assert_ok().json()["data"].as_array().unwrap().is_empty());
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"events": ["api_key.*"]})).await;

    let made = program.post_json("/api/keys", json!({"name": "ci", "owner": "cust_1"})).await.assert_status(201).json();
    receiver.wait_for(1).await;
    let rotation = format!("/api/keys/{}/rotation", made["id"]);
    let successor = program.post_json(&rotation, json!({})).await.assert_status(201).json();
    receiver.wait_for(2).await;
    let revocation = format!("/api/keys/{}/revocation", successor["id"]);
    program.post_json(&revocation, json!({"reason": "leaked"})).await.assert_ok();
    let heard = receiver.wait_for(3).await;

    let heard: Vec<_> = heard.iter().map(event_of).collect();
    let kinds: Vec<_> = heard.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, ["api_key.created", "api_key.rotated", "api_key.revoked"]);
    let key = |place: usize| heard[place].1["data"]["api_key"].clone();
    assert_eq!((&key(0)["id"], &key(0)["name"], &key(0)["owner"]), (&made["id"], &json!("ci"), &json!("cust_1")));
    assert_eq!((&key(1)["id"], &key(1)["rotated_to"]), (&made["id"], &successor["id"]));
    assert!(!key(1)["rotates_out_at"].is_null());
    assert_eq!((&key(2)["id"], &key(2)["revoked_reason"]), (&successor["id"], &json!("leaked")));
    for secret in [&made["secret"], &successor["secret"]] {
        assert!(heard.iter().all(|(_, body)| !body.to_string().contains(secret.as_str().unwrap())));
    }
}

#[actix_web::test]
async fn webhooks_get_one_event_per_expiry_a_week_before_a_key_expires() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"events": ["api_key.expiring"]})).await;
    let at = |days| app.clock.now() + TimeDelta::days(days);
    let soon =
        program.post_json("/api/keys", json!({"name": "soon", "expires_at": at(6)})).await.assert_status(201).json();
    let path = format!("/api/keys/{}", soon["id"]);
    program.post_json("/api/keys", json!({"name": "later", "expires_at": at(30)})).await.assert_status(201);
    program.post_json("/api/keys", json!({"name": "never"})).await.assert_status(201);
    let off = json!({"name": "off", "expires_at": at(3), "is_active": false});
    program.post_json("/api/keys", off).await.assert_status(201);
    let db = Db::new(&app.database.url, 1).with_clock(&app.clock);

    remind::round(&db).await.unwrap();
    remind::round(&db).await.unwrap();
    let heard = receiver.wait_for(1).await;
    assert_eq!(event_of(&heard[0]).1["data"]["api_key"]["name"], "soon");

    program.patch_json(&path, json!({"expires_at": at(5)})).await.assert_ok();
    remind::round(&db).await.unwrap();
    let heard = receiver.wait_for(2).await;
    assert_eq!(event_of(&heard[1]).1["data"]["api_key"]["name"], "soon");
    let events = program.get("/api/events").await.assert_ok().json();
    assert_eq!(events["data"].as_array().unwrap().len(), 2, "each expiry is told of once");
}

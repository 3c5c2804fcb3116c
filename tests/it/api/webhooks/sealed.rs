//! Sealed values of webhooks: private keys, and values of headers.

use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use serde_json::{Value, json};

use crate::support::{Receiver, TestApp};

const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const VALUE: &str = "Bearer of-nobody-s-business";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// True if any column of these tables contains the text.
fn is_stored_anywhere(app: &TestApp, text: &str) -> bool {
    ["webhooks", "signing_secrets", "audit_entries", "attempts", "idempotency_keys"].iter().any(|table| {
        let sql = format!("SELECT EXISTS (SELECT FROM {table} t WHERE position($1 IN t::text) > 0) AS found");
        diesel::sql_query(sql).bind::<Text, _>(text).get_result::<Found>(&mut app.conn()).unwrap().found
    })
}

#[actix_web::test]
async fn an_imported_signing_key_is_sealed_and_only_its_public_part_is_shown() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({"signing_key": PRIVATE})).await;
    assert_eq!(made["public_keys"], json!([PUBLIC]));
    assert!(!made.to_string().contains("whsk_"), "{made}");
    let listed = program.get("/api/webhooks").await.assert_ok().json();
    assert_eq!(listed["data"][0]["public_keys"], json!([PUBLIC]));
    let path = format!("/api/webhooks/{}/key-rotation", made["id"]);
    program.post_json(&path, json!({"signing_key": PUBLIC})).await.assert_invalid("signing_key");
    program.post_json(&path, json!({"overlap_seconds": 604_801})).await.assert_invalid("overlap_seconds");
    let secret = program.get(format!("/api/webhooks/{}/secret", made["id"])).await.json();
    assert_eq!(secret["secret"], made["secret"], "what is revealed is the shared secret");
    assert!(!is_stored_anywhere(&app, &PRIVATE[5..40]));
    assert!(!is_stored_anywhere(&app, made["secret"].as_str().unwrap()));
}

#[actix_web::test]
async fn values_of_headers_are_sent_and_masked_everywhere_else() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({"headers": {"X-Team": VALUE, "X-Region": "eu-1"}})).await;
    let masked = json!({"x-region": "••••", "x-team": "••••"});
    let path = format!("/api/webhooks/{}", made["id"]);
    assert_eq!(made["headers"], masked);
    assert_eq!(program.get(&path).await.json()["headers"], masked);
    assert_eq!(program.get("/api/webhooks").await.json()["data"][0]["headers"], masked);

    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    let received = receiver.wait_for(1).await.remove(0);
    assert_eq!((received.header("x-team"), received.header("x-region")), (VALUE, "eu-1"));
    assert_eq!(delivery["attempts"][0]["request_headers"]["x-team"], "••••");
    assert_eq!(delivery["attempts"][0]["request_headers"]["x-region"], "••••");

    // A masked value keeps the stored value, a missing header is removed, and a new value is sealed.
    let ask = json!({"headers": {"x-team": "••••", "x-new": "1"}});
    let changed = program.patch_json(&path, ask).await.assert_ok().json();
    assert_eq!(changed["headers"], json!({"x-new": "••••", "x-team": "••••"}));
    let shown = program.get(format!("{path}/headers")).await;
    assert_eq!(shown.assert_ok().header("cache-control"), "no-store");
    assert_eq!(shown.json()["headers"], json!({"x-new": "1", "x-team": VALUE}));
    program.patch_json(&path, json!({"headers": {"x-other": "••••"}})).await.assert_invalid("headers");
    assert!(!is_stored_anywhere(&app, VALUE), "in no row");
    let noted = program.get("/api/audit?action=webhook.headers_revealed").await.assert_ok().json();
    assert_eq!(noted["data"][0]["details"]["headers"], json!(["x-new", "x-team"]));
}

#[actix_web::test]
async fn sealed_values_are_sent_to_no_other_url() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let hook = "http://127.0.0.1:9001/hook?team=1";
    let ask = json!({"url": hook, "events": ["*"], "headers": {"x-team": VALUE}});
    let made = program.post_json("/api/webhooks", ask).await.assert_status(201).json();
    let path = format!("/api/webhooks/{}", made["id"]);
    let others = [
        "https://127.0.0.1:9001/hook?team=1",
        "http://127.0.0.2:9001/hook?team=1",
        "http://127.0.0.1:9002/hook?team=1",
        "http://127.0.0.1:9001/echo?team=1",
        "http://127.0.0.1:9001/hook/?team=1",
        "http://127.0.0.1:9001/hook?team=2",
        "http://127.0.0.1:9001/hook",
    ];
    for other in others {
        program.patch_json(&path, json!({"url": other})).await.assert_invalid("headers");
        let masked = json!({"url": other, "headers": {"x-team": "••••"}});
        program.patch_json(&path, masked).await.assert_invalid("headers");
        let one_of_two = json!({"url": other, "headers": {"x-team": "••••", "x-new": "1"}});
        program.patch_json(&path, one_of_two).await.assert_invalid("headers");
    }
    assert_eq!(program.get(&path).await.json()["url"], hook);
}

#[actix_web::test]
async fn a_new_url_is_accepted_with_new_values_or_without_values() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let made = program.subscribe(&receiver, json!({"headers": {"x-team": VALUE}})).await;
    let path = format!("/api/webhooks/{}", made["id"]);
    // A different spelling of the same URL is not a new URL. A fragment is never sent.
    program.patch_json(&path, json!({"url": format!(" {}#top ", receiver.url)})).await.assert_ok();
    program.patch_json(&path, json!({"url": other.url, "headers": {"x-team": "new"}})).await.assert_ok();
    program.publish("a", json!(1)).await;
    assert_eq!(other.wait_for(1).await[0].header("x-team"), "new");
    program.patch_json(&path, json!({"url": receiver.url, "headers": {}})).await.assert_ok();
    program.publish("a", json!(2)).await;
    let received = receiver.wait_for(1).await.remove(0);
    assert!(received.headers.iter().all(|(name, _)| name != "x-team"), "{received:?}");
}

#[actix_web::test]
async fn plain_values_of_an_earlier_version_are_sealed_at_start_and_still_sent() {
    use gatepost::app::App;
    use gatepost::schema::webhooks;
    let mut app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let made = program.subscribe(&receiver, json!({"headers": {"x-new": "sealed already"}})).await;
    let kept: Value = webhooks::table.select(webhooks::headers).first(&mut app.conn()).unwrap();
    let mut headers = kept.as_object().unwrap().clone();
    headers.insert("x-old".to_owned(), VALUE.into());
    diesel::update(webhooks::table).set(webhooks::headers.eq(Value::from(headers))).execute(&mut app.conn()).unwrap();
    program.publish("a", json!(1)).await;
    assert_eq!(receiver.wait_for(1).await[0].header("x-old"), VALUE, "until then as it was");

    app.stop().await;
    let settings = crate::support::settings::for_test(&app.database.url, &[]);
    let running = App::start(settings, app.clock.clone()).await.unwrap();
    assert!(!is_stored_anywhere(&app, VALUE));
    let again = crate::support::Person { base: format!("http://{}", running.addr), ..program };
    again.publish("a", json!(2)).await;
    let received = receiver.wait_for(2).await.remove(1);
    assert_eq!((received.header("x-old"), received.header("x-new")), (VALUE, "sealed already"));
    let shown = again.get(format!("/api/webhooks/{}/headers", made["id"])).await.assert_ok().json();
    assert_eq!(shown["headers"], json!({"x-new": "sealed already", "x-old": VALUE}));
    running.stop().await;
}

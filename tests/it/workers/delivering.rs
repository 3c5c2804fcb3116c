//! Delivery by the real worker: caps, broken payloads, restarts, and notifications from other processes.

use diesel::prelude::*;
use gatepost::schema::{deliveries, events};
use serde_json::json;

use crate::support::receiver::Reply;
use crate::support::{Person, Receiver, TestApp};

#[actix_web::test]
async fn a_webhook_never_has_more_requests_open_than_its_cap() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(200).held());
    program.subscribe(&receiver, json!({"max_in_flight": 2})).await;
    let batch: Vec<_> = (0..9).map(|n| json!({"type": "a", "data": n})).collect();
    program.post_json("/api/events/batch", json!({"events": batch})).await.assert_status(202);
    for done in [2, 4, 6, 8, 9] {
        receiver.wait_for(done).await;
        receiver.release();
    }
    assert_eq!(receiver.most_busy(), 2);
}

#[actix_web::test]
async fn a_webhook_that_hangs_does_not_delay_another() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (stuck, healthy) = (Receiver::start().await, Receiver::start().await);
    stuck.answer_always(Reply::new(200).held());
    program.subscribe(&stuck, json!({"events": ["stuck"]})).await;
    program.subscribe(&healthy, json!({"events": ["healthy"]})).await;
    let batch: Vec<_> = (0..60).map(|n| json!({"type": "stuck", "data": n})).collect();
    program.post_json("/api/events/batch", json!({"events": batch})).await.assert_status(202);
    stuck.wait_for(10).await;
    program.publish("healthy", json!(1)).await;
    healthy.wait_for(1).await;
    stuck.answer_always(Reply::new(200));
    stuck.release();
}

#[actix_web::test]
async fn a_delivery_with_a_broken_payload_fails_with_an_error() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({})).await;
    let path = format!("/api/webhooks/{}", webhook["id"]);
    diesel::sql_query("UPDATE tenants SET is_active = FALSE, suspended_at = now()").execute(&mut app.conn()).unwrap();
    let event = {
        use gatepost::domain::Actor;
        use gatepost::services::events::{NewEvent, publish};
        let ask = NewEvent::parse(Some("a"), Some("1"), None).unwrap();
        app.tx(|tx| publish(tx, &Actor::system(app.tenant), &ask)).unwrap()
    };
    diesel::update(events::table).set(events::payload.eq("{not json")).execute(&mut app.conn()).unwrap();
    diesel::sql_query("UPDATE tenants SET is_active = TRUE, suspended_at = NULL").execute(&mut app.conn()).unwrap();
    let find = || deliveries::table.select((deliveries::state, deliveries::last_error)).first(&mut app.conn());
    for _ in 0..500 {
        let (state, error): (String, Option<String>) = find().unwrap();
        if state == "failed" {
            assert_eq!(error.as_deref(), Some("the request of this delivery could not be prepared"));
            assert!(receiver.received().is_empty());
            program.get(&path).await.assert_ok();
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{} never ended", event.id);
}

#[actix_web::test]
async fn events_published_by_another_process_are_delivered() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    use gatepost::domain::Actor;
    use gatepost::services::events::{NewEvent, publish};
    let ask = NewEvent::parse(Some("a"), Some("1"), None).unwrap();
    app.tx(|tx| publish(tx, &Actor::system(app.tenant), &ask)).unwrap();
    receiver.wait_for(1).await;
}

#[actix_web::test]
async fn a_stop_waits_for_requests_in_flight() {
    let mut app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(200).held()]);
    program.subscribe(&receiver, json!({})).await;
    program.publish("a", json!(1)).await;
    receiver.wait_for(1).await;
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        receiver.release();
    };
    futures_util::future::join(app.stop(), release).await;
    let state: String = deliveries::table.select(deliveries::state).first(&mut app.conn()).unwrap();
    assert_eq!(state, "delivered");
}

#[actix_web::test]
async fn an_odd_response_is_stored_as_text_that_postgres_accepts() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply { body: "a\0b\u{202e}c".to_owned(), ..Reply::new(200) }.header("X-Odd", "\u{e9}t\u{e9}")]);
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    assert_eq!(delivery["attempts"][0]["response_body"], "a\u{fffd}b\u{202e}c");
}

#[actix_web::test]
async fn a_suspended_tenant_s_deliveries_wait_and_are_sent_later() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    receiver.answer([Reply::new(500)]);
    program.subscribe(&receiver, json!({"retry_schedule": [60]})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "retrying", 1).await;
    let beta = app.make_tenant("beta");
    let eve = app.person("eve", beta, gatepost::domain::Role::Owner).await;
    let token = app.mint_token(gatepost::domain::UserId(eve.user_id), Some(beta), &["*"]);
    let neighbor = Person::with_token(&app.base, &token);
    neighbor.subscribe(&other, json!({})).await;
    let oscar = app.operator("oscar").await;
    let operator = app.instance_token_of(&oscar, &["*"]);
    let suspend = async |is_active: bool| {
        let path = format!("/api/tenants/{}", app.tenant);
        operator.patch_json(path, json!({"is_active": is_active})).await.assert_ok();
    };

    suspend(false).await;
    app.advance(chrono::TimeDelta::minutes(5));
    // The worker has looked more than once by the time when these events of another tenant arrive.
    for number in 0..3 {
        let event = neighbor.publish("b", json!(number)).await;
        neighbor.delivery_once(&event, "delivered", 1).await;
    }
    assert_eq!(receiver.count(), 1, "it is due, and waits");
    suspend(true).await;
    receiver.wait_for(2).await;
    program.delivery_once(&event, "delivered", 2).await;
}

//! `/api/events`.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use gatepost::schema::{deliveries, events};
use serde_json::json;

use super::{admin, mint, text};
use crate::support::{Receiver, TestApp};

#[actix_web::test]
async fn an_event_goes_to_every_webhook_whose_patterns_match() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    for events in [json!(["order.created"]), json!(["order.*"]), json!(["*"]), json!(["order.shipped", "user.*"])] {
        program.subscribe(&receiver, json!({"events": events})).await;
    }
    let published = program.publish("order.created", json!({"id": 7})).await;
    assert_eq!((&published["type"], &published["deliveries"]), (&json!("order.created"), &json!(3)));
    receiver.wait_for(3).await;
    let shown = program.get(format!("/api/events/{}", published["id"].as_str().unwrap())).await.assert_ok().json();
    assert_eq!((&shown["data"], shown["deliveries"].as_array().unwrap().len()), (&json!({"id": 7}), 3));
}

#[actix_web::test]
async fn the_older_names_of_the_fields_are_accepted() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let answer = program.post_json("/api/events", json!({"event": "Order.Created", "payload": null})).await;
    assert_eq!(answer.assert_status(202).json()["type"], "Order.Created");
    let list = program.get("/api/events?type=Order.Created").await.assert_ok().json();
    assert_eq!(list["data"][0]["data"], json!(null));
}

#[actix_web::test]
async fn an_invalid_event_is_refused_by_field_and_nothing_is_stored() {
    let app = TestApp::start().await;
    let program = app.program().await;
    program.post_json("/api/events", json!({"data": {}})).await.assert_invalid("type");
    program.post_json("/api/events", json!({"type": "a"})).await.assert_invalid("data");
    program.post_json("/api/events", json!({"type": "a b", "data": {}})).await.assert_invalid("type");
    program.post_json("/api/events", json!({"type": "a", "data": {}, "x": 1})).await.assert_invalid("x");
    let large = "x".repeat(256 * 1024);
    program.post_json("/api/events", json!({"type": "a", "data": large})).await.assert_invalid("data");
    let huge = "x".repeat(1024 * 1024);
    program.post_json("/api/events", json!({"type": "a", "data": huge})).await.assert_problem(413, "too_large");
    let batch = json!({"events": [{"type": "a", "data": 1}, {"type": "b c", "data": 1}]});
    program.post_json("/api/events/batch", batch).await.assert_invalid("events[1].type");
    assert_eq!(events::table.count().get_result(&mut app.conn()), Ok(0_i64));
}

#[actix_web::test]
async fn a_repeated_request_publishes_once() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let ask = json!({"type": "order.created", "data": {"a": 1}, "idempotency_key": "once"});
    let first = program.post_json("/api/events", ask.clone()).await;
    let again = program.post_json("/api/events", ask).await;
    assert_eq!((first.assert_status(202).json(), first.header("idempotent-replayed")), (again.json(), ""));
    assert_eq!((again.status, again.header("idempotent-replayed")), (202, "true"));
    let header = program.with("idempotency-key", "\"once\"");
    assert_eq!(
        header.post_json("/api/events", json!({"type": "order.created", "data": {"a": 1}})).await.json(),
        first.json()
    );
    let other = header.post_json("/api/events", json!({"type": "order.created", "data": {"a": 2}})).await;
    other.assert_problem(422, "idempotency_mismatch");
    assert_eq!(events::table.count().get_result(&mut app.conn()), Ok(1_i64));
    app.advance(chrono::TimeDelta::hours(25));
    let later = program.post_json("/api/events", json!({"type": "b", "data": 1, "idempotency_key": "once"})).await;
    later.assert_status(202);
}

#[actix_web::test]
async fn racing_requests_with_one_key_publish_once() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let ask = json!({"type": "order.created", "data": 1, "idempotency_key": "race"});
    let answers = futures_util::future::join_all((0..8).map(|_| program.post_json("/api/events", ask.clone()))).await;
    let (done, others): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
    for refused in others {
        refused.assert_problem(409, "idempotency_in_flight");
    }
    let mut ids: Vec<_> = done.iter().map(|answer| answer.json()["id"].to_string()).collect();
    ids.push(program.post_json("/api/events", ask).await.assert_status(202).json()["id"].to_string());
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(events::table.count().get_result(&mut app.conn()), Ok(1_i64));
}

#[actix_web::test]
async fn a_second_request_with_the_idempotency_key_of_a_running_one_is_a_conflict() {
    use gatepost::store::idempotency_keys::try_hold;
    let app = TestApp::start().await;
    let program = app.program().await;
    let mut conn = app.conn();
    let ask = json!({"type": "order.created", "data": 1, "idempotency_key": "held"});
    conn.batch_execute("BEGIN").unwrap();
    assert!(try_hold(&mut conn, app.tenant, "events", "held").unwrap());
    let refused = program.post_json("/api/events", ask.clone()).await;
    refused.assert_problem(409, "idempotency_in_flight");
    assert_eq!(refused.header("retry-after"), "1");
    let other = json!({"type": "order.created", "data": 1, "idempotency_key": "another"});
    program.post_json("/api/events", other).await.assert_status(202);
    conn.batch_execute("COMMIT").unwrap();
    program.post_json("/api/events", ask).await.assert_status(202);
}

#[actix_web::test]
async fn an_event_is_not_stored_when_its_deliveries_cannot_be() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    // Inserting the delivery fails, so the event must not be stored either.
    diesel::sql_query("ALTER TABLE deliveries ADD CONSTRAINT none_today CHECK (FALSE) NOT VALID")
        .execute(&mut app.conn())
        .unwrap();
    program.post_json("/api/events", json!({"type": "a", "data": 1})).await.assert_problem(500, "internal");
    assert_eq!(events::table.count().get_result(&mut app.conn()), Ok(0_i64));
    diesel::sql_query("ALTER TABLE deliveries DROP CONSTRAINT none_today").execute(&mut app.conn()).unwrap();
    program.publish("a", json!(1)).await;
    receiver.wait_for(1).await;
    assert_eq!(deliveries::table.count().get_result(&mut app.conn()), Ok(1_i64));
}

#[actix_web::test]
async fn a_batch_is_published_in_one_request() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let batch = json!({"events": [{"type": "a", "data": 1}, {"event": "b", "payload": 2}]});
    let published = program.post_json("/api/events/batch", batch).await.assert_status(202).json();
    assert_eq!(published["data"].as_array().unwrap().len(), 2);
    let list = program.get("/api/events?limit=1").await.assert_ok().json();
    assert_eq!(list["data"][0]["type"], "b");
    let older =
        program.get(format!("/api/events?limit=1&cursor={}", list["next_cursor"].as_str().unwrap())).await.json();
    assert_eq!((&older["data"][0]["type"], &older["next_cursor"]), (&json!("a"), &json!(null)));
}

#[actix_web::test]
async fn event_types_of_gatepost_cannot_be_published() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"scopes": ["events:write"]})).await;
    let holder = app.key(text(&key, "secret"));
    for kind in ["api_key.revoked", "webhook.disabled", "webhook.probe", "Webhook.failing"] {
        for program in [&token, &holder] {
            let refused = program.post_json("/api/events", json!({"type": kind, "data": {}})).await;
            assert_eq!(refused.assert_invalid("type")["errors"][0]["code"], "reserved", "{kind}");
        }
    }
    let batch = json!([{"type": "order.created", "data": 1}, {"type": "api_key.revoked", "data": 1}]);
    holder.post_json("/api/events/batch", json!({"events": batch})).await.assert_invalid("events[1].type");
    holder.post_json("/api/events", json!({"type": "webhooks.sent", "data": {}})).await.assert_status(202);
}

//! Deliveries that are cancelled during an attempt.

use serde_json::json;

use crate::support::receiver::Reply;
use crate::support::{Person, Receiver, TestApp};

/// Returns the value of a counter.
async fn counter(app: &TestApp, name: &str) -> u64 {
    let metrics = app.stranger().get("/metrics").await.assert_ok().body.clone();
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Counts settled attempts of every outcome.
async fn attempts(app: &TestApp) -> u64 {
    let failed = counter(app, "gatepost_attempts_total{success=\"false\"}").await;
    failed + counter(app, "gatepost_attempts_total{success=\"true\"}").await
}

async fn until_settled(app: &TestApp) {
    for _ in 0..1_000 {
        if attempts(app).await == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no attempt was settled");
}

async fn in_flight(app: &TestApp) -> (Person, Receiver, serde_json::Value, serde_json::Value) {
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(200).held()]);
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    receiver.wait_for(1).await;
    (program, receiver, webhook, event)
}

#[actix_web::test]
async fn a_response_after_deletion_of_its_webhook_is_no_lost_lease() {
    let app = TestApp::start().await;
    let (program, receiver, webhook, event) = in_flight(&app).await;
    program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    receiver.release();
    until_settled(&app).await;

    assert_eq!(counter(&app, "gatepost_settlements_late_total").await, 0);
    let delivery = program.delivery_of(&event).await;
    assert_eq!(delivery["state"], "cancelled");
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["error"], "answered 200 after the webhook was deleted");
    assert_eq!((&attempt["response_status"], &attempt["success"]), (&json!(200), &json!(true)), "{attempt}");
    assert_eq!((&delivery["last_status"], &delivery["last_error"]), (&json!(200), &attempt["error"]), "{delivery}");
    let metrics = app.stranger().get("/metrics").await.body;
    assert!(!metrics.contains("gatepost_deliveries_total{state=\"delivered\"}"), "it was not delivered: {metrics}");
}

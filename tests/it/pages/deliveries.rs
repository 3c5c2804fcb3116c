//! The pages about deliveries: the log, narrowed by what is asked, and the timeline of one.

use serde_json::json;

use crate::support::receiver::Reply;
use crate::support::{Receiver, TestApp};

#[actix_web::test]
async fn the_log_is_narrowed_by_answer_and_time_and_cleared_again() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"retry_schedule": []})).await;
    receiver.answer([Reply::new(200), Reply::new(500)]);
    let fine = program.publish("fine", json!(1)).await;
    program.delivery_once(&fine, "delivered", 1).await;
    app.advance(chrono::TimeDelta::hours(2));
    let broken = program.publish("broken", json!(1)).await;
    program.delivery_once(&broken, "failed", 1).await;
    let vera = app.viewer("vera").await;
    let rows = async |query: &str| {
        let page = vera.visit(format!("/deliveries?{query}")).await;
        page.assert_ok().html().texts("tbody .cell-title a")
    };
    assert_eq!(rows("").await, ["broken", "fine"]);
    assert_eq!(rows("status=5xx").await, ["broken"]);
    assert_eq!(rows("status=2xx").await, ["fine"]);
    let hour_ago = (app.clock.now() - chrono::TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M").to_string();
    assert_eq!(rows(&format!("since={hour_ago}")).await, ["broken"]);
    assert_eq!(rows(&format!("until={hour_ago}")).await, ["fine"]);

    let none = vera.visit(format!("/deliveries?until={hour_ago}&status=none")).await.assert_ok().html();
    assert_eq!(none.texts(".chip bdi"), ["none", hour_ago.as_str()]);
    assert_eq!(none.value("until"), hour_ago);
    assert_eq!(none.text(".empty a"), "Clear filters");
}

#[actix_web::test]
async fn an_attempt_shows_what_was_sent_and_where_its_time_went() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"payload_format": "event"})).await;
    let event = program.publish("order.created", json!({"id": 7})).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    let vera = app.viewer("vera").await;
    let page = vera.visit(format!("/deliveries/{}", delivery["id"].as_str().unwrap())).await.assert_ok().html();
    let phases = page.texts(".phases li");
    let names: Vec<_> = phases.iter().map(|text| text.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["Connecting", "Waiting", "Reading"], "{phases:?}");
    assert!(phases.iter().all(|text| text.ends_with(" ms")), "{phases:?}");
    let sent = page.text("[aria-label='Request body of attempt 1']");
    assert!(sent.contains(r#""event": "order.created""#) && sent.contains(r#""id": 7"#), "{sent}");
    let command = page.text("#curl-code-1");
    assert!(command.contains(r#"--data-raw '{"event":"order.created""#), "{command}");
}

#[actix_web::test]
async fn an_attempt_that_is_under_way_is_shown_and_stays_on_record_where_its_webhook_is_deleted() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(200).held());
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("order.created", json!({"id": 7})).await;
    receiver.wait_for(1).await;
    let delivery = program.delivery_of(&event).await;
    assert_eq!((&delivery["attempts_made"], &delivery["attempts"]), (&json!(1), &json!([])));
    let vera = app.viewer("vera").await;
    let path = format!("/deliveries/{}", delivery["id"].as_str().unwrap());
    let page = vera.visit(&path).await.assert_ok().html();
    let first = page.texts(".moment-head").swap_remove(0);
    assert!(first.starts_with("Attempt 1") && first.contains("is under way, begun"), "{first}");

    program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    receiver.release();
    let delivery = program.delivery_once(&event, "cancelled", 1).await;
    let error = delivery["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("deleted while this attempt was under way"), "{error}");
}

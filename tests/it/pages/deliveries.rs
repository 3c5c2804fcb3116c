//! Pages about deliveries: the filtered log, and the timeline of one delivery.

use serde_json::{Value, json};

use crate::support::receiver::Reply;
use crate::support::{Person, Receiver, TestApp};

#[actix_web::test]
async fn the_log_is_filtered_by_response_and_time_and_filters_can_be_removed() {
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
async fn an_attempt_shows_the_request_and_the_time_of_each_phase() {
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
async fn a_running_attempt_is_shown_and_stays_on_record_if_its_webhook_is_deleted() {
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
    assert!(first.starts_with("Attempt 1") && first.contains("in progress, started"), "{first}");

    program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    receiver.release();
    let delivery = program.delivery_once(&event, "cancelled", 1).await;
    let error = delivery["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("the webhook was deleted"), "{error}");
}

/// Tenant with 101 webhooks. The oldest gets every event and fails, and the others get `b`.
struct TenantWithManyWebhooks {
    app: TestApp,
    program: Person,
    oldest: Value,
    event: Value,
    _receiver: Receiver,
}

impl TenantWithManyWebhooks {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let program = app.program().await;
        let receiver = Receiver::start().await;
        receiver.answer_always(Reply::new(500));
        let oldest = program.subscribe(&receiver, json!({"name": "Oldest", "retry_schedule": []})).await;
        let event = program.publish("a", json!(1)).await;
        program.delivery_once(&event, "failed", 1).await;
        for number in 0..100 {
            let other = json!({"name": format!("Other {number}"), "events": ["b"], "retry_schedule": []});
            program.subscribe(&receiver, other).await;
        }
        Self { app, program, oldest, event, _receiver: receiver }
    }
}

#[actix_web::test]
async fn a_webhook_older_than_a_hundred_others_is_still_named_and_in_the_filter() {
    let many = TenantWithManyWebhooks::start().await;
    let vera = many.app.viewer("vera").await;
    let page = vera.visit(format!("/deliveries?webhook={}", many.oldest["id"])).await.assert_ok().html();
    assert_eq!(page.texts("#filter-webhook option[selected]"), ["Oldest"]);
    assert_eq!(page.texts("#filter-webhook option").len(), 102, "any, the chosen and the newest hundred");
    assert!(page.text(".chip").contains("Oldest") && page.text("tbody").contains("Oldest"));
    assert!(page.all_text().contains("offers the newest 100 webhooks"));

    let all = vera.visit("/deliveries").await.assert_ok().html();
    assert!(all.text("tbody").contains("Oldest") && all.all_text().contains("offers the newest 100 webhooks"));
    let event = vera.visit(format!("/events/{}", many.event["id"].as_str().unwrap())).await.assert_ok().html();
    assert!(event.text("tbody").contains("Oldest"));
    assert!(vera.visit("/").await.assert_ok().html().text("[aria-labelledby=failures] tbody").contains("Oldest"));
}

#[actix_web::test]
async fn an_event_with_more_than_a_hundred_deliveries_says_that_its_list_is_cut() {
    let many = TenantWithManyWebhooks::start().await;
    let wide = many.program.publish("b", json!(1)).await;
    let shown = async |event: &Value| {
        let shown = many.program.get(format!("/api/events/{}", event["id"].as_str().unwrap())).await.assert_ok().json();
        (shown["deliveries"].as_array().unwrap().len(), shown["deliveries_are_capped"].clone())
    };
    assert_eq!(shown(&many.event).await, (1, json!(false)));
    assert_eq!(shown(&wide).await, (100, json!(true)));
    let id = wide["id"].as_str().unwrap();
    let page = many.app.viewer("vera").await.visit(format!("/events/{id}")).await.assert_ok().html();
    assert_eq!(page.text("#fan"), "Newest 100 deliveries");
    assert!(page.has(&format!("a[href='/deliveries?event={id}']")));
}

#[actix_web::test]
async fn a_filter_for_a_deleted_webhook_shows_its_value() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"name": "Gone"})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "delivered", 1).await;
    program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    let vera = app.viewer("vera").await;
    let page = vera.visit(format!("/deliveries?webhook={}", webhook["id"])).await.assert_ok().html();
    assert_eq!(page.texts("#filter-webhook option[selected]"), [format!("Webhook {}", webhook["id"])]);
    assert!(!page.all_text().contains("offers the newest"), "the list is whole");
}

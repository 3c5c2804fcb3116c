//! Failed attempts: retries, and failures that are not retried.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::receiver::Reply;
use crate::support::{Receiver, TestApp};

/// Returns the seconds until the next attempt, by the app's clock.
fn wait(app: &TestApp, delivery: &Value) -> i64 {
    let next: DateTime<Utc> = delivery["next_attempt_at"].as_str().unwrap().parse().unwrap();
    (next - app.clock.now()).num_seconds()
}

#[actix_web::test]
async fn a_failing_delivery_follows_the_schedule_to_its_end() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(500));
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    for (attempt, gap) in (1..).zip([5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]) {
        let delivery = program.delivery_once(&event, "retrying", attempt).await;
        let seconds = wait(&app, &delivery);
        assert!(
            (gap * 8 / 10 - 3..=gap * 12 / 10 + 1).contains(&seconds),
            "after {attempt}: {seconds} s, {gap} s expected"
        );
        assert_eq!(receiver.received().len(), usize::try_from(attempt).unwrap());
        app.advance(TimeDelta::seconds(seconds + 2));
    }
    let delivery = program.delivery_once(&event, "failed", 10).await;
    assert_eq!((&delivery["next_attempt_at"], &delivery["last_error"]), (&json!(null), &json!("answered 500")));
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 10);
}

#[actix_web::test]
async fn a_receiver_that_recovers_gets_its_event() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(503), Reply::new(204)]);
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "retrying", 1).await;
    let path = format!("/api/webhooks/{}", webhook["id"]);
    assert_eq!(program.get(&path).await.json()["state"], "failing");
    app.advance(TimeDelta::seconds(7));
    let delivery = program.delivery_once(&event, "delivered", 2).await;
    assert_eq!(
        (&delivery["attempts"][0]["success"], &delivery["attempts"][1]["success"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(program.get(&path).await.json()["state"], "active");
}

#[actix_web::test]
async fn a_receiver_can_ask_for_a_wait_before_the_retry() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(429).header("Retry-After", "120")]);
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "retrying", 1).await;
    assert!((115..=120).contains(&wait(&app, &delivery)), "{delivery}");
}

/// Delivers to a receiver that responds 503 with this `Retry-After`. Returns the delivery after its first attempt, and
/// the wait in seconds.
async fn deliver_with_retry_after(app: &TestApp, value: &str) -> (Value, i64) {
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(503).header("Retry-After", value)]);
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "retrying", 1).await;
    let seconds = wait(app, &delivery);
    (delivery, seconds)
}

#[actix_web::test]
async fn retry_after_accepts_every_date_format_of_http() {
    for form in ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"] {
        let app = TestApp::start().await;
        let date = (app.clock.now() + TimeDelta::hours(2)).format(form).to_string();
        let (_, seconds) = deliver_with_retry_after(&app, &date).await;
        assert!((7_100..=7_200).contains(&seconds), "{date}: {seconds}");
    }
}

#[actix_web::test]
async fn a_wait_beyond_a_day_is_capped_and_the_log_says_so() {
    for (value, length) in
        [("2592000", "30 days"), ("99999999999999999999", "more than 3650 days"), ("86401", "86401 seconds")]
    {
        let app = TestApp::start().await;
        let (delivery, seconds) = deliver_with_retry_after(&app, value).await;
        assert!((86_300..=86_400).contains(&seconds), "{value}: {seconds}");
        let says = format!("answered 503; asked for a wait of {length}; capped at 24 hours");
        assert_eq!((&delivery["last_error"], &delivery["attempts"][0]["error"]), (&json!(says), &json!(says)));
        let ada = app.admin("ada").await;
        let page = ada.visit(format!("/deliveries/{}", delivery["id"].as_str().unwrap())).await;
        let noted = format!("Answered 503; asked for a wait of {length}; capped at 24 hours");
        assert!(page.assert_ok().html().all_text().contains(&noted), "{noted} on the page");
    }
}

#[actix_web::test]
async fn a_schedule_that_waits_longer_than_requested_caps_nothing() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(503).header("Retry-After", "172800")]);
    program.subscribe(&receiver, json!({"retry_schedule": [604_800]})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "retrying", 1).await;
    assert_eq!(delivery["last_error"], json!("answered 503"), "{delivery}");
}

#[actix_web::test]
async fn a_past_or_unreadable_wait_does_not_change_the_schedule() {
    for value in ["-5", "0", "Sunday, 06-Nov-94 08:49:37 GMT", "soon"] {
        let app = TestApp::start().await;
        let (delivery, seconds) = deliver_with_retry_after(&app, value).await;
        assert!(seconds <= 6, "{value}: {seconds}");
        assert_eq!(delivery["last_error"], "answered 503");
    }
}

#[actix_web::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    receiver.answer([Reply::new(307).header("Location", &elsewhere.url)]);
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "retrying", 1).await;
    assert_eq!((&delivery["last_status"], &delivery["attempts"][0]["success"]), (&json!(307), &json!(false)));
    assert_eq!(delivery["last_error"], "answered 307: redirects are not followed");
    assert!(elsewhere.received().is_empty());
}

#[actix_web::test]
async fn status_410_disables_the_webhook() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(410)]);
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "failed", 1).await;
    let shown = program.get(format!("/api/webhooks/{}", webhook["id"])).await.json();
    assert_eq!(
        (&shown["state"], &shown["disabled_reason"]),
        (&json!("disabled"), &json!("the endpoint responded with 410 Gone"))
    );
}

#[actix_web::test]
async fn five_days_of_nothing_but_failures_disable_the_webhook() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(500));
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "retrying", 1).await;
    app.advance(TimeDelta::days(5) + TimeDelta::minutes(1));
    program.delivery_once(&event, "retrying", 2).await;
    let shown = program.get(format!("/api/webhooks/{}", webhook["id"])).await.json();
    assert_eq!((&shown["state"], &shown["is_active"]), (&json!("disabled"), &json!(false)));
    assert_eq!(shown["disabled_reason"], "every attempt failed for 5 days");
    let active =
        program.post_json(format!("/api/webhooks/{}/activation", webhook["id"]), json!({})).await.assert_ok().json();
    assert_eq!((&active["state"], &active["disabled_reason"]), (&json!("active"), &json!(null)));
}

#[actix_web::test]
async fn a_private_address_is_refused_by_default_with_an_error() {
    let app = TestApp::start_with(&[("GATEPOST_ALLOW_PRIVATE_NETWORKS", "10.0.0.0/8")]).await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let ask = json!({"url": "http://10.0.0.5/hook", "events": ["*"]});
    let webhook = program.post_json("/api/webhooks", ask).await.assert_status(201).json();
    // Change the URL directly, as if its network had been allowed when the webhook was created.
    use diesel::prelude::*;
    use gatepost::schema::webhooks;
    let id = webhook["id"].as_i64().unwrap();
    diesel::update(webhooks::table.find(id)).set(webhooks::url.eq(&receiver.url)).execute(&mut app.conn()).unwrap();
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "retrying", 1).await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(attempt["error_kind"], "blocked_address");
    let says = attempt["error"].as_str().unwrap();
    assert!(
        says.contains("127.0.0.1, a loopback address; an operator can allow it with GATEPOST_ALLOW_PRIVATE_NETWORKS"),
        "{says}"
    );
    assert!(receiver.received().is_empty());
}

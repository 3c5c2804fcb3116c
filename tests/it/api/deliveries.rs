//! `/api/deliveries` and `/api/webhook-logs`.

use serde_json::json;

use crate::support::receiver::Reply;
use crate::support::{Person, Receiver, TestApp};

#[actix_web::test]
async fn a_delivery_and_the_log_show_its_attempts() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook =
        program.subscribe(&receiver, json!({"headers": {"X-Team": "blue", "Authorization": "Bearer hush"}})).await;
    receiver.answer([Reply { body: "x".repeat(20_000), ..Reply::new(200) }]);
    let event = program.publish("order.created", json!({"id": 7})).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    let attempt = &delivery["attempts"][0];
    assert_eq!(
        (&attempt["attempt"], &attempt["success"], &attempt["response_status"]),
        (&json!(1), &json!(true), &json!(200))
    );
    assert_eq!(attempt["response_body"].as_str().unwrap().len(), 16 * 1024);
    assert_eq!(attempt["payload"], json!({"id": 7}));
    assert_eq!(
        (&attempt["request_headers"]["x-team"], &attempt["request_headers"]["authorization"]),
        (&json!("••••"), &json!("••••"))
    );
    let expected = json!({"type": "order.created", "timestamp": event["created_at"], "data": {"id": 7}});
    let sent = attempt["request_body"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(sent).unwrap(), expected);
    assert_eq!(sent, receiver.received()[0].text(), "to the byte");
    assert_eq!(attempt["remote_address"], "127.0.0.1");
    let timings = &attempt["timings"];
    assert!(timings["dns_ms"].is_null() && timings["connect_ms"].as_f64() < timings["first_byte_ms"].as_f64());
    assert_eq!(timings["total_ms"], attempt["duration_ms"]);
    assert_eq!(receiver.received()[0].header("authorization"), "Bearer hush");

    let list =
        program.get(format!("/api/webhook-logs?webhook_id={}&success=true", webhook["id"])).await.assert_ok().json();
    assert_eq!(
        (list["data"].as_array().unwrap().len(), list["data"][0]["response_body"].as_str().unwrap().len()),
        (1, 1_000)
    );
    let found = program.get(format!("/api/webhook-logs/{}", attempt["id"].as_str().unwrap())).await;
    assert_eq!(found.assert_ok().json()["id"], attempt["id"]);
    program
        .delete(format!("/api/webhook-logs/{}", attempt["id"].as_str().unwrap()))
        .await
        .assert_problem(405, "method_not_allowed");
}

#[actix_web::test]
async fn deliveries_are_filtered_by_state_type_and_webhook() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"events": ["order.*"]})).await;
    receiver.answer([Reply::new(410)]);
    let gone = program.publish("order.created", json!(1)).await;
    program.delivery_once(&gone, "failed", 1).await;
    let count = async |query: &str| {
        let list = program.get(format!("/api/deliveries?{query}")).await.assert_ok().json();
        list["data"].as_array().unwrap().len()
    };
    assert_eq!(count("state=failed").await, 1);
    assert_eq!(count("state=delivered").await, 0);
    assert_eq!(count("type=order.created").await, 1);
    assert_eq!(count("type=order.shipped").await, 0);
    assert_eq!(count(&format!("webhook_id={}", webhook["id"])).await, 1);
    assert_eq!(count("since=2001-01-01T00:00:00Z").await, 1);
    assert_eq!(count("until=2001-01-01T00:00:00Z").await, 0);
    for (status, expected) in [("2xx", 0), ("3xx", 0), ("4xx", 1), ("5xx", 0), ("none", 0)] {
        assert_eq!(count(&format!("status={status}")).await, expected, "{status}");
    }
    program.get("/api/deliveries?status=teapot").await.assert_invalid("status");
    program.get("/api/deliveries?state=lost").await.assert_invalid("state");
    program.get("/api/deliveries?event_id=evt_1").await.assert_invalid("event_id");
    let own = program.get(format!("/api/webhooks/{}/deliveries", webhook["id"])).await.assert_ok().json();
    assert_eq!(own["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_finished_delivery_can_be_sent_again() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    let path = format!("/api/deliveries/{}", delivery["id"].as_str().unwrap());
    program.post_json(format!("{path}/cancellation"), json!({})).await.assert_problem(409, "conflict");
    program.post_json(format!("{path}/redelivery"), json!({})).await.assert_status(202);
    let again = program.delivery_once(&event, "delivered", 2).await;
    assert_eq!((again["attempts"].as_array().unwrap().len(), &again["attempts_max"]), (2, &json!(11)));
    let received = receiver.wait_for(2).await;
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"));
    assert_eq!(received[1].header("x-webhook-attempt"), "2");
}

#[actix_web::test]
async fn waiting_deliveries_can_be_cancelled_and_deleting_a_webhook_cancels_all() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({})).await;
    receiver.answer_always(Reply::new(500));
    let (one, two) = (program.publish("a", json!(1)).await, program.publish("a", json!(2)).await);
    let waiting = program.delivery_once(&one, "retrying", 1).await;
    program.delivery_once(&two, "retrying", 1).await;
    let path = format!("/api/deliveries/{}/cancellation", waiting["id"].as_str().unwrap());
    let cancelled = program.post_json(path, json!({})).await.assert_ok().json();
    assert_eq!((&cancelled["state"], &cancelled["next_attempt_at"]), (&json!("cancelled"), &json!(null)));
    program.delete(format!("/api/webhooks/{}", webhook["id"])).await.assert_status(204);
    let gone = program.delivery_once(&two, "cancelled", 1).await;
    let path = format!("/api/deliveries/{}/redelivery", gone["id"].as_str().unwrap());
    program.post_json(path, json!({})).await.assert_problem(409, "conflict");
}

#[actix_web::test]
async fn another_tenant_s_deliveries_are_not_found() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    let delivery = program.delivery_once(&event, "delivered", 1).await;
    let other = app.make_tenant("other");
    let eve = app.person("eve", other, gatepost::domain::Role::Owner).await;
    let token = app.mint_token(gatepost::domain::UserId(eve.user_id), Some(other), &["*"]);
    let theirs = Person::with_token(&app.base, &token);
    let id = delivery["id"].as_str().unwrap();
    theirs.get(format!("/api/deliveries/{id}")).await.assert_problem(404, "not_found");
    theirs.post_json(format!("/api/deliveries/{id}/redelivery"), json!({})).await.assert_problem(404, "not_found");
    theirs.post_json(format!("/api/deliveries/{id}/cancellation"), json!({})).await.assert_problem(404, "not_found");
    theirs.get(format!("/api/events/{}", event["id"].as_str().unwrap())).await.assert_problem(404, "not_found");
    let attempt = delivery["attempts"][0]["id"].as_str().unwrap();
    theirs.get(format!("/api/webhook-logs/{attempt}")).await.assert_problem(404, "not_found");
    for list in ["deliveries", "events", "webhook-logs"] {
        assert_eq!(theirs.get(format!("/api/{list}")).await.assert_ok().json()["data"], json!([]), "{list}");
    }
}

#[actix_web::test]
async fn the_log_is_filtered_by_response_event_and_time() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"retry_schedule": []})).await;
    let mut events = Vec::new();
    for (kind, status) in [("fine", 200), ("moved", 302), ("lost", 404), ("broken", 500)] {
        receiver.answer([Reply::new(status)]);
        let event = program.publish(kind, json!(1)).await;
        program.delivery_once(&event, if status == 200 { "delivered" } else { "failed" }, 1).await;
        events.push(event);
        app.advance(chrono::TimeDelta::hours(1));
    }
    let nobody = json!({"url": "http://127.0.0.1:9/hook", "events": ["unheard"], "retry_schedule": []});
    program.post_json("/api/webhooks", nobody).await.assert_status(201);
    receiver.answer([Reply::new(200)]);
    let event = program.publish("unheard", json!(1)).await;
    let found = async |list: &str, query: String| {
        let list = program.get(format!("/api/{list}?{query}")).await.assert_ok().json();
        let kinds = list["data"].as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap().to_owned());
        kinds.collect::<Vec<_>>()
    };
    for _ in 0..500 {
        let of_event = |status| format!("event_id={}&status={status}", event["id"].as_str().unwrap());
        let ended = [found("webhook-logs", of_event("none")).await, found("webhook-logs", of_event("2xx")).await];
        if ended.iter().all(|list| list.len() == 1) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    for list in ["deliveries", "webhook-logs"] {
        for (status, expected) in [
            ("2xx", vec!["unheard", "fine"]),
            ("3xx", vec!["moved"]),
            ("4xx", vec!["lost"]),
            ("5xx", vec!["broken"]),
            ("none", vec!["unheard"]),
        ] {
            assert_eq!(found(list, format!("status={status}")).await, expected, "{list} {status}");
        }
        let (second, fourth) = (events[1]["created_at"].as_str().unwrap(), events[3]["created_at"].as_str().unwrap());
        let between = format!("since={}&until={}", second.replace('+', "%2B"), fourth.replace('+', "%2B"));
        assert_eq!(found(list, between.clone()).await, ["lost", "moved"], "{list}");
        assert_eq!(found(list, format!("{between}&type=lost")).await, ["lost"], "{list}");
        let of_event = format!("event_id={}", events[2]["id"].as_str().unwrap());
        assert_eq!(found(list, of_event).await, ["lost"], "{list}");
    }
    assert_eq!(found("webhook-logs", "success=true".to_owned()).await, ["unheard", "fine"]);
}

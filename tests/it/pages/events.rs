//! Publishing on a page, and the log of deliveries.

use crate::support::{Answer, Person, TestApp};

async fn publish(person: &Person, kind: &str, data: &str) -> (Vec<(String, String)>, Answer) {
    let form = person.visit("/events/new").await.html();
    let mut fields: Vec<_> = ["_csrf", "nonce"].map(|name| (name.to_owned(), form.value(name))).into();
    fields.extend([("type".to_owned(), kind.to_owned()), ("data".to_owned(), data.to_owned())]);
    let answer = send(person, &fields).await;
    (fields, answer)
}

async fn send(person: &Person, fields: &[(String, String)]) -> Answer {
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    person.submit_exactly("/events", &fields).await
}

#[actix_web::test]
async fn an_event_is_published_once_even_if_its_form_is_sent_twice() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let (form, answer) = publish(&ada, "order.created", "{\"z\": 1.50, \"a\": \"<b>\"}").await;
    let event = answer.assert_status(303).header("location").to_owned();
    send(&ada, &form).await.assert_see_other(&event);

    let page = ada.visit(&event).await.html();
    assert!(page.text("[role=status]").contains("Nothing was sent again"));
    assert_eq!(page.text("#payload-code"), "{ \"z\": 1.50, \"a\": \"<b>\" }");
    assert!(page.has(".empty"), "nobody is subscribed");
    assert_eq!(ada.visit("/events").await.html().texts(".cell-title a"), ["order.created"]);
    assert!(ada.visit("/events?type=other.type").await.html().text(".empty").contains("No event matches"));
}

#[actix_web::test]
async fn an_invalid_event_is_refused_at_its_fields() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let (_, answer) = publish(&ada, "order created", "{").await;

    let page = answer.assert_status(422).html();
    assert!(!page.error_at("type").is_empty() && !page.error_at("data").is_empty());
    assert_eq!((page.value("type"), page.value("data").trim().to_owned()), ("order created".into(), "{".into()));
}

#[actix_web::test]
async fn data_that_is_not_json_is_refused_with_what_to_write() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    for (data, says) in [
        ("", "as in {\"id\": 1042}"),
        (" \n", "as in {\"id\": 1042}"),
        ("{\"id\": 1,}", "remove the comma"),
        ("{id: 1}", "names stand in double quotes"),
        ("{\"id\": 1", "ends too early"),
        ("order 7", "a JSON value is expected"),
    ] {
        let (_, answer) = publish(&ada, "order.created", data).await;
        let said = answer.assert_status(422).html().error_at("data");
        assert!(said.contains(says), "{says} in {said}");
    }
}

#[actix_web::test]
async fn deliveries_are_filtered_by_state_webhook_and_type() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let hook = serde_json::json!({"url": "http://127.0.0.1:9/hook", "events": ["order.*"], "name": "ERP"});
    token.post_json("/api/webhooks", hook).await.assert_status(201);
    publish(&ada, "order.created", "{}").await;

    let list = ada.visit("/deliveries").await.html();
    assert_eq!(list.texts("tbody [data-label=Webhook]"), ["ERP"]);
    let delivery = list.select(".cell-title a")[0].value().attr("href").unwrap().to_owned();
    assert_eq!(ada.visit("/deliveries?webhook=1&type=order.created").await.html().texts(".chip").len(), 2);
    assert!(ada.visit("/deliveries?state=delivered").await.html().text(".empty").contains("No delivery matches"));
    let page = ada.visit(&delivery).await.html();
    assert_eq!(page.text("h1"), "order.created");
    assert!(page.text(".timeline").contains("Published"));
    ada.visit(format!("{delivery}/cancellation")).await.assert_ok();
    ada.visit("/deliveries/dlv_01h2xcejqtf2nbrexx3vqjhp41").await.assert_status(404);
}

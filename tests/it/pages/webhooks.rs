//! The pages about webhooks, and what becomes of a test event.

use crate::support::{Answer, Person, TestApp};

async fn subscribe(person: &Person, fields: &[(&str, &str)]) -> Answer {
    let form = person.visit("/webhooks/new").await.html();
    let (token, nonce) = (form.value("_csrf"), form.value("nonce"));
    let mut all = vec![
        ("_csrf", token.as_str()),
        ("nonce", nonce.as_str()),
        ("payload_format", "standard"),
        ("signature_style", "prefixed"),
        ("timeout_seconds", "5"),
        ("max_in_flight", "3"),
    ];
    all.extend_from_slice(fields);
    person.submit_exactly("/webhooks", &all).await
}

const GOOD: [(&str, &str); 2] = [("url", "http://127.0.0.1:9/hook"), ("events", "order.*\ninvoice.paid")];

#[actix_web::test]
async fn a_webhook_is_named_after_its_host_and_its_secret_shows_on_request_only() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    subscribe(&ada, &GOOD).await.assert_see_other("/webhooks/1");

    let page = ada.visit("/webhooks/1").await;
    assert_eq!(page.assert_ok().html().text("h1"), "127.0.0.1");
    assert!(!page.body.contains("whsec_M") && page.body.contains("whsec_••"));
    let shown = ada.submit("/webhooks/1/secret", &[]).await;
    assert_eq!(shown.assert_ok().header("cache-control"), "no-store");
    let first = shown.html().text(".panel .copyable code");
    assert!(first.starts_with("whsec_") && !first.contains('•'), "{first}");
    ada.submit("/webhooks/1/secret-rotation", &[("overlap_seconds", "3600")]).await.assert_see_other("/webhooks/1");
    let second = ada.submit("/webhooks/1/secret", &[]).await.html().text(".panel .copyable code");
    assert_ne!(first, second);
}

#[actix_web::test]
async fn a_refused_form_comes_back_with_its_values_but_without_the_secret() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;

    let answer = subscribe(
        &ada,
        &[("url", "http://10.0.0.1/x"), ("events", "order created!"), ("secret", "short"), ("name", "ERP")],
    )
    .await;

    let page = answer.assert_status(422).html();
    assert!(!page.error_at("url").is_empty() && !page.error_at("events").is_empty());
    assert_eq!(
        (page.value("url"), page.value("name"), page.value("secret")),
        ("http://10.0.0.1/x".into(), "ERP".into(), String::new())
    );
    assert!(ada.visit("/webhooks").await.html().has(".empty"));
}

#[actix_web::test]
async fn a_webhook_is_changed_paused_resumed_and_deleted() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    subscribe(&ada, &GOOD).await;
    let mut fields =
        vec![("payload_format", "raw"), ("signature_style", "hex"), ("timeout_seconds", "7"), ("max_in_flight", "1")];
    fields.extend(GOOD);
    fields.push(("name", "ERP"));

    ada.submit("/webhooks/1", &fields).await.assert_see_other("/webhooks/1");
    assert_eq!(ada.visit("/webhooks/1/edit").await.html().value("timeout_seconds"), "7");
    ada.submit("/webhooks/1/deactivation", &[]).await.assert_see_other("/webhooks/1");
    assert_eq!(ada.visit("/webhooks").await.html().texts("tbody .badge"), ["Paused"]);
    ada.submit("/webhooks/1/test", &[("type", "webhook.test")]).await.assert_see_other("/webhooks/1");
    assert!(ada.visit("/webhooks/1").await.html().text("[role=alert]").contains("switched off"));
    ada.submit("/webhooks/1/activation", &[]).await.assert_see_other("/webhooks/1");
    ada.submit("/webhooks/1/deletion", &[("confirmation", "erp")]).await.assert_status(422);
    ada.submit("/webhooks/1/deletion", &[("confirmation", "ERP")]).await.assert_see_other("/webhooks");
    ada.visit("/webhooks/1").await.assert_status(404);
}

#[actix_web::test]
async fn a_test_event_is_refused_at_its_field_and_else_goes_to_that_webhook_alone() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    subscribe(&ada, &GOOD).await;
    subscribe(&ada, &[("url", "http://127.0.0.1:9/other"), ("events", "*")]).await;

    let refused = ada.submit("/webhooks/1/test", &[("type", "Not A Type")]).await;
    assert!(!refused.assert_status(422).html().error_at("type").is_empty());
    let sent = ada.submit("/webhooks/1/test", &[("type", "webhook.test")]).await;

    let event = sent.assert_status(303).header("location").to_owned();
    let page = ada.visit(&event).await.html();
    assert_eq!(page.texts("tbody [data-label=Webhook]"), ["127.0.0.1"]);
    assert_eq!(page.select("tbody [data-label=Webhook] a")[0].value().attr("href"), Some("/webhooks/1"));
}

#[actix_web::test]
async fn two_who_edit_a_webhook_or_a_key_at_once_do_not_overwrite_each_other_unseen() {
    let app = TestApp::start().await;
    let (ada, otto) = (app.admin("ada").await, app.owner("otto").await);
    subscribe(&ada, &GOOD).await.assert_see_other("/webhooks/1");
    app.token_of(&ada, &["*"]).post_json("/api/keys", serde_json::json!({"name": "ci"})).await.assert_status(201);
    for (page, more) in [
        (
            "/webhooks/1",
            &[
                ("url", "http://127.0.0.1:9/hook"),
                ("events", "*"),
                ("payload_format", "standard"),
                ("signature_style", "prefixed"),
                ("timeout_seconds", "5"),
                ("max_in_flight", "3"),
            ][..],
        ),
        ("/keys/1", &[("environment", "live"), ("rate_limit", "10"), ("rate_window_seconds", "60")][..]),
    ] {
        let (of_ada, of_otto) =
            (ada.visit(format!("{page}/edit")).await.html(), otto.visit(format!("{page}/edit")).await.html());
        let save = async |person: &Person, name: &str, seen: &str| {
            person.submit(page, &[&[("name", name), ("seen", seen)], more].concat()).await
        };
        app.advance(chrono::TimeDelta::seconds(1));
        save(&otto, "Otto's", &of_otto.value("seen")).await.assert_see_other(page);

        let refused = save(&ada, "Ada's", &of_ada.value("seen")).await.assert_status(409).html();

        assert!(
            refused.text("main [role=alert]").contains("Somebody else changed this")
                && refused.value("name") == "Ada's"
        );
        assert_eq!(otto.visit(page).await.html().text("h1"), "Otto's");
        app.advance(chrono::TimeDelta::seconds(1));
        save(&ada, "Ada's", &refused.value("seen")).await.assert_see_other(page);
        assert_eq!(otto.visit(page).await.html().text("h1"), "Ada's");
    }
}

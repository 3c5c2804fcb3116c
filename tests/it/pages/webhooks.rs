//! Pages about webhooks, and test events.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::dsl::max;
use diesel::prelude::*;
use gatepost::schema::{deliveries, webhooks};
use serde_json::json;

use crate::support::receiver::Reply;
use crate::support::{Answer, Person, Receiver, TestApp};

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
    assert!(page.body.contains("whsec_••"));
    let shown = ada.submit("/webhooks/1/secret", &[]).await;
    assert_eq!(shown.assert_ok().header("cache-control"), "no-store");
    let first = shown.html().text(".panel .copyable code");
    assert!(first.starts_with("whsec_") && !first.contains('•'), "{first}");
    assert!(!page.body.contains(&first) && !ada.visit("/webhooks/1").await.body.contains(&first));
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
    assert!(ada.visit("/webhooks/1").await.html().text("[role=alert]").contains("paused or disabled"));
    ada.submit("/webhooks/1/activation", &[]).await.assert_see_other("/webhooks/1");
    ada.submit("/webhooks/1/deletion", &[("confirmation", "erp")]).await.assert_status(422);
    ada.submit("/webhooks/1/deletion", &[("confirmation", "ERP")]).await.assert_see_other("/webhooks");
    ada.visit("/webhooks/1").await.assert_status(404);
}

#[actix_web::test]
async fn an_invalid_test_event_is_refused_at_its_field_and_a_valid_one_goes_only_to_its_webhook() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    subscribe(&ada, &GOOD).await;
    subscribe(&ada, &[("url", "http://127.0.0.1:9/other"), ("events", "*")]).await;

    let refused = ada.submit("/webhooks/1/test", &[("type", "Not A Type")]).await;
    assert!(!refused.assert_status(422).html().error_at("type").is_empty());
    let sent = ada.submit("/webhooks/1/test", &[("type", "webhook.test")]).await;

    let delivery = sent.assert_status(303).header("location").to_owned();
    assert!(delivery.starts_with("/deliveries/dlv_"), "{delivery}");
    let page = ada.visit(&delivery).await.html();
    assert_eq!(page.text("[role=alert]"), "webhook.test was not accepted. The connection was refused.");
    assert_eq!(page.select(".page-head-meta a")[0].value().attr("href"), Some("/webhooks/1"));
    assert_eq!(page.texts(".moment-note"), ["Connect: the connection was refused"]);
    let all = ada.visit("/deliveries?type=webhook.test").await.html();
    assert_eq!(all.texts("tbody [data-label=Webhook]"), ["127.0.0.1"], "it went nowhere else");
}

#[actix_web::test]
async fn a_test_event_of_gatepost_s_own_types_is_refused_at_its_field() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    subscribe(&ada, &GOOD).await;
    for own in ["api_key.revoked", "webhook.disabled", " Webhook.Probe "] {
        let refused = ada.submit("/webhooks/1/test", &[("type", own)]).await.assert_status(422).html();
        assert!(refused.error_at("type").contains("reserved for events that Gatepost publishes itself"), "{own}");
    }
}

/// Returns the texts of all links and buttons of a page that change something.
fn controls(page: &Answer) -> Vec<String> {
    page.assert_ok().html().texts("main :is(a.button, button:not([hidden]))")
}

#[actix_web::test]
async fn a_developer_sees_controls_of_their_own_webhooks_only() {
    let app = TestApp::start().await;
    let (ada, dora) = (app.admin("ada").await, app.developer("dora").await);
    let fields = [GOOD[0], ("events", "*"), ("headers", "X-Team: abc")];
    subscribe(&ada, &fields).await.assert_see_other("/webhooks/1");
    subscribe(&dora, &fields).await.assert_see_other("/webhooks/2");
    make_failing(&app, TimeDelta::days(6), true);
    let others = dora.visit("/webhooks/1").await;
    assert_eq!(controls(&others), Vec::<String>::new());
    assert!(!others.html().has("main form"));
    let own = controls(&dora.visit("/webhooks/2").await);
    for control in ["Edit", "Send a test request and resume", "Reveal secret", "Send test event"] {
        assert!(own.iter().any(|text| text == control), "{control} in {own:?}");
    }
    assert!(!own.contains(&"Delete webhook…".to_owned()), "deleting takes an admin");
}

#[actix_web::test]
async fn a_developer_directs_deliveries_of_their_own_webhooks_only() {
    let app = TestApp::start().await;
    let (ada, dora) = (app.admin("ada").await, app.developer("dora").await);
    for person in [&ada, &dora] {
        let body = json!({"url": "http://127.0.0.1:9/", "events": ["*"], "retry_schedule": [3600]});
        app.token_of(person, &["*"]).post_json("/api/webhooks", body).await.assert_status(201);
    }
    let program = app.token_of(&ada, &["*"]);
    let event = program.publish("order.created", json!(1)).await;
    let listed = program.get(format!("/api/deliveries?event_id={}", event["id"].as_str().unwrap())).await.json();
    for delivery in listed["data"].as_array().unwrap() {
        let is_own = delivery["webhook_id"] == 2;
        let id = delivery["id"].as_str().unwrap();
        program.delivery_tried(id).await;
        let found = controls(&dora.visit(format!("/deliveries/{id}")).await);
        assert_eq!(
            found.contains(&"Redeliver".to_owned()) && found.contains(&"Cancel delivery…".to_owned()),
            is_own,
            "{found:?}"
        );
        let asked = dora.visit(format!("/deliveries/{id}/cancellation")).await;
        asked.assert_status(if is_own { 200 } else { 403 });
    }
}

#[actix_web::test]
async fn a_new_url_needs_new_header_values() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let settings =
        [("payload_format", "raw"), ("signature_style", "hex"), ("timeout_seconds", "7"), ("max_in_flight", "1")];
    subscribe(&ada, &[GOOD[0], GOOD[1], ("headers", "X-Team: abc")]).await;
    let moved = [("url", "http://127.0.0.1:9/hook/echo"), GOOD[1]];
    let kept = [&settings[..], &moved, &[("headers", "x-team: ••••")]].concat();
    let refused = ada.submit("/webhooks/1", &kept).await.assert_status(422).html();
    assert!(refused.error_at("headers").contains("entered again"), "{}", refused.error_at("headers"));
    let anew = [&settings[..], &moved, &[("headers", "x-team: def")]].concat();
    ada.submit("/webhooks/1", &anew).await.assert_see_other("/webhooks/1");
}

#[actix_web::test]
async fn header_values_are_typed_once_and_then_masked() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    let refused = subscribe(&ada, &[GOOD[0], GOOD[1], ("headers", "X-Team: abc\nno colon")]).await;
    let page = refused.assert_status(422).html();
    assert!(!page.error_at("headers").is_empty());
    assert!(!page.value("headers").contains("abc"), "what was typed as a secret is not sent back");
    let mut fields = GOOD.to_vec();
    fields.push(("headers", "X-Team: abc\nX-Other: def"));
    subscribe(&ada, &fields).await.assert_see_other("/webhooks/1");

    let form = ada.visit("/webhooks/1/edit").await.html();
    assert_eq!(form.value("headers").trim(), "x-other: ••••\nx-team: ••••");
    fields[2].1 = "x-team: ••••";
    fields.extend([("payload_format", "standard"), ("signature_style", "hex"), ("timeout_seconds", "5")]);
    fields.push(("max_in_flight", "3"));
    ada.submit("/webhooks/1", &fields).await.assert_see_other("/webhooks/1");
    let page = ada.visit("/webhooks/1").await;
    assert!(!page.body.contains("abc") && page.html().texts("[aria-labelledby=headers] dt") == ["x-team"]);
    let shown = ada.submit("/webhooks/1/headers", &[]).await;
    assert_eq!(shown.assert_ok().header("cache-control"), "no-store");
    assert_eq!(shown.html().texts("[aria-labelledby=headers] dd"), ["abc"]);
}

#[actix_web::test]
async fn a_key_pair_is_created_rotated_and_removed() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    subscribe(&ada, &GOOD).await;
    let keys = |page: Answer| page.assert_ok().html().texts("[aria-labelledby=keys] .copyable code");
    assert!(keys(ada.visit("/webhooks/1").await).is_empty());
    ada.submit("/webhooks/1/key-rotation", &[]).await.assert_see_other("/webhooks/1");
    let first = keys(ada.visit("/webhooks/1").await);
    assert!(first.len() == 1 && first[0].starts_with("whpk_"), "{first:?}");
    assert!(ada.visit("/webhooks/1/key-rotation").await.assert_ok().html().has("[name=overlap_seconds]"));
    ada.submit("/webhooks/1/key-rotation", &[("overlap_seconds", "3600")]).await.assert_see_other("/webhooks/1");
    let both = keys(ada.visit("/webhooks/1").await);
    assert_eq!((both.len(), &both[1]), (2, &first[0]));
    ada.visit("/webhooks/1/key-removal").await.assert_ok();
    ada.submit("/webhooks/1/key-removal", &[]).await.assert_see_other("/webhooks/1");
    assert!(keys(ada.visit("/webhooks/1").await).is_empty());
}

/// As if nothing had been accepted for so long, and Gatepost had switched it off for that or not.
fn make_failing(app: &TestApp, since: TimeDelta, is_off: bool) {
    let reason = is_off.then_some("every attempt failed for 5 days");
    let set = (
        webhooks::failing_since.eq(app.clock.now() - since),
        webhooks::is_active.eq(!is_off),
        webhooks::disabled_reason.eq(reason),
    );
    diesel::update(webhooks::table).set(set).execute(&mut app.conn()).unwrap();
}

#[actix_web::test]
async fn a_disabled_webhook_resumes_with_one_click_if_its_probe_succeeds() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let ada = app.admin("ada").await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"events": ["order.*"], "retry_schedule": [60]})).await;
    make_failing(&app, TimeDelta::days(6), true);
    receiver.answer([Reply::new(503)]);
    let page = ada.visit("/webhooks/1").await.html();
    let says = page.text(".flash-bad p");
    assert!(says.contains("Every attempt failed for 5 days."), "{says}");
    assert_eq!(page.texts(".flash-bad button"), ["Send a test request and resume"]);

    // Probe fails: the page shows the response, and offers to resume anyway.
    ada.submit("/webhooks/1/activation", &[]).await.assert_see_other("/webhooks/1");
    let page = ada.visit("/webhooks/1").await.html();
    let says = page.text("[role=alert]");
    assert!(says.contains("the test request failed. Answered 503."), "{says}");
    assert_eq!(page.texts(".flash-body button"), ["Send another test request", "Resume without a test request"]);
    assert_eq!(receiver.received()[0].header("x-webhook-event"), "webhook.probe");
    let shown = program.get("/api/webhooks/1").await.json();
    assert_eq!((&shown["state"], shown["probe_delivery_id"].is_string()), (&json!("disabled"), true));

    // Probe succeeds: the webhook is active again, with no failures on record.
    ada.submit("/webhooks/1/activation", &[]).await.assert_see_other("/webhooks/1");
    let page = ada.visit("/webhooks/1").await.html();
    let says = page.text("[role=status]");
    assert!(says.contains("receives events again"), "{says}");
    let shown = program.get("/api/webhooks/1").await.json();
    let facts = ["state", "failing_since", "disabled_reason", "probe_delivery_id"].map(|field| shown[field].clone());
    assert_eq!(facts, [json!("active"), json!(null), json!(null), json!(null)]);
    let noted = program.get("/api/audit?action=webhook.activated").await.assert_ok().json();
    assert_eq!(noted["data"][0]["via"], "system");

    make_failing(&app, TimeDelta::days(6), true);
    ada.submit("/webhooks/1/activation", &[("anyway", "true")]).await.assert_see_other("/webhooks/1");
    assert_eq!(program.get("/api/webhooks/1").await.json()["state"], "active");
    assert_eq!(receiver.received().len(), 2, "nobody was asked");
}

#[actix_web::test]
async fn during_a_probe_nothing_else_is_sent_and_a_program_can_request_a_probe() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(500), Reply::new(200).held()]);
    program.subscribe(&receiver, json!({"retry_schedule": [60, 60, 60]})).await;
    let event = program.publish("order.created", json!(1)).await;
    program.delivery_once(&event, "retrying", 1).await;
    make_failing(&app, TimeDelta::days(6), true);
    app.advance(TimeDelta::minutes(2));
    let asked = program.post_json("/api/webhooks/1/activation?probe=true", json!({})).await.assert_status(202).json();
    let again = program.post_json("/api/webhooks/1/activation?probe=true", json!({})).await.assert_status(202).json();
    assert_eq!(asked["probe_delivery_id"], again["probe_delivery_id"], "one at a time");
    let received = receiver.wait_for(2).await;
    assert_eq!(received[1].header("x-webhook-event"), "webhook.probe");
    assert_eq!(program.get("/api/webhooks/1").await.json()["is_active"], false);
    receiver.release();
    program.delivery_once(&event, "delivered", 2).await;
    assert_eq!(program.get("/api/webhooks/1").await.json()["state"], "active");
}

#[actix_web::test]
async fn banners_say_when_a_webhook_will_be_disabled() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    subscribe(&ada, &GOOD).await;
    make_failing(&app, TimeDelta::hours(50), false);
    assert!(
        ada.visit("/webhooks/1").await.html().text(".flash-bad p").contains("Gatepost disables the webhook in 2 days")
    );
    let overview = ada.visit("/").await.html();
    assert!(!overview.has(".flash-bad"), "there is time");
    assert!(overview.text("[aria-labelledby=attention] a").contains("will be disabled in 2 days"));
    make_failing(&app, TimeDelta::hours(100), false);
    assert!(ada.visit("/webhooks/1").await.html().text(".flash-bad p").contains("disables the webhook in 19 h"));
    let overview = ada.visit("/").await.html();
    let says = overview.text(".flash-bad p");
    assert!(says.starts_with("127.0.0.1 accepts no deliveries.") && says.contains("in 19 h"), "{says}");
    assert_eq!(overview.select(".flash-bad a")[0].value().attr("href"), Some("/webhooks/1"));
}

#[actix_web::test]
async fn a_webhook_s_page_and_the_api_show_its_statistics() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let vera = app.viewer("vera").await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(200), Reply::new(200), Reply::new(200), Reply::new(500)]);
    program.subscribe(&receiver, json!({})).await;
    for number in 0..4 {
        let event = program.publish("order.created", json!(number)).await;
        program.delivery_once(&event, if number == 3 { "retrying" } else { "delivered" }, 1).await;
    }
    let told = program.get("/api/webhooks/1/statistics").await.assert_ok().json();
    let counts = ["attempts", "successes", "waiting", "last_failure"].map(|field| told[field].clone());
    assert_eq!(counts, [json!(4), json!(3), json!(1), json!("answered 500")]);
    assert!(told["p50_ms"].as_f64().unwrap() <= told["p95_ms"].as_f64().unwrap(), "{told}");
    assert!(told["next_attempt_at"].is_string() && told["last_failure_at"].is_string(), "{told}");
    let hours = told["hours"].as_array().unwrap();
    assert_eq!(hours.iter().map(|hour| hour["delivered"].as_i64().unwrap()).sum::<i64>(), 3, "{told}");

    let page = vera.visit("/webhooks/1?range=7d").await.assert_ok().html();
    assert_eq!(page.text(".segments [aria-current]"), "7 d");
    let stats = page.texts(".stats .stat-value");
    assert_eq!(stats[..4], ["3", "0", "1", "75.0 %"]);
    assert!(stats[4].ends_with(" ms") && page.text(".stats .stat-note").starts_with("p95 "), "{stats:?}");
    let facts = page.text(".facts");
    assert!(facts.contains("Last failurejust now") && facts.contains("Next attempt due"), "{facts}");
    let tabs = page.texts("[aria-labelledby=verify] .tab");
    assert_eq!(tabs, ["Python", "JavaScript", "Go", "Rust", "Ruby", "PHP", "By hand"]);
}

#[actix_web::test]
async fn pages_and_the_api_report_a_host_that_does_not_respond() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let vera = app.viewer("vera").await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(500));
    program.subscribe(&receiver, json!({"events": ["order.created"]})).await;
    program
        .post_json("/api/webhooks", json!({"url": "http://127.0.0.1:9/", "events": ["other"]}))
        .await
        .assert_status(201);
    let silent = program.publish("other", json!(1)).await;
    program.delivery_once(&silent, "retrying", 1).await;

    let told = program.get("/api/webhooks/2/statistics").await.json();
    assert!(told["unreachable_since"].is_string(), "{told}");
    let says = vera.visit("/webhooks/2").await.html().text(".flash-bad p");
    assert!(says.contains("Requests to this host are sent one at a time until it responds."), "{says}");
    // Another webhook of the same host, without any request so far.
    program
        .post_json("/api/webhooks", json!({"url": "http://127.0.0.1:9/b", "events": ["never"]}))
        .await
        .assert_status(201);
    let says = vera.visit("/webhooks/3").await.html().text(".flash-bad p");
    assert!(says.starts_with("The receiver's host has not responded for a moment."), "{says}");

    // Any response shows that the host is reachable.
    let refused = program.publish("order.created", json!(1)).await;
    program.delivery_once(&refused, "retrying", 1).await;
    assert!(program.get("/api/webhooks/1/statistics").await.json()["unreachable_since"].is_null());
}

#[actix_web::test]
async fn concurrent_edits_of_a_webhook_or_key_do_not_overwrite_each_other_unnoticed() {
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
            refused.text("main [role=alert]").contains("was changed while you edited it")
                && refused.value("name") == "Ada's"
        );
        assert_eq!(otto.visit(page).await.html().text("h1"), "Otto's");
        app.advance(chrono::TimeDelta::seconds(1));
        save(&ada, "Ada's", &refused.value("seen")).await.assert_see_other(page);
        assert_eq!(otto.visit(page).await.html().text("h1"), "Ada's");
    }
}

#[actix_web::test]
async fn a_secret_that_no_library_verifies_is_refused_at_its_field() {
    let app = TestApp::start().await;
    let ada = app.developer("ada").await;
    for (secret, says) in [
        ("whsec_c2hvcnQ=", "24 to 64 bytes"),
        ("whsec_not base64", "standard base64"),
        ("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "must begin with whsec_"),
    ] {
        let answer = subscribe(&ada, &[GOOD[0], GOOD[1], ("secret", secret)]).await;
        let shown = answer.assert_status(422).html().error_at("secret");
        assert!(shown.contains(says), "{secret}: {shown}");
    }
}

#[actix_web::test]
async fn statistics_say_if_more_deliveries_wait_than_are_counted() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(200).held());
    let webhook = program.subscribe(&receiver, json!({"max_in_flight": 1, "timeout_seconds": 30})).await;
    let batch: Vec<_> = (0..1_000).map(|number| json!({"type": "a", "data": number})).collect();
    program.publish("a", json!(0)).await;
    receiver.wait_for(1).await;
    program.post_json("/api/events/batch", json!({"events": batch})).await.assert_status(202);
    let path = format!("/api/webhooks/{}", webhook["id"]);
    let read = async || {
        let told = program.get(format!("{path}/statistics")).await.assert_ok().json();
        (told["waiting"].clone(), told["waiting_is_capped"].clone())
    };
    assert_eq!(read().await, (json!(1_000), json!(false)));
    program.publish("a", json!(1)).await;
    assert_eq!(read().await, (json!(1_000), json!(true)));
    receiver.release();
}

/// Copies the attempts of a webhook until there are this many.
fn repeat_attempts(app: &TestApp, count: i64) {
    let sql = format!(
        "INSERT INTO attempts SELECT r.* FROM (SELECT * FROM attempts ORDER BY id LIMIT 1) a,
             generate_series(1, {count} - (SELECT count(*) FROM attempts)) n,
             LATERAL jsonb_populate_record(NULL::attempts, to_jsonb(a) || jsonb_build_object('id', left(a.id::text, 24) || lpad(to_hex(n + 10000 * {count}), 12, '0'))) r"
    );
    diesel::sql_query(sql).execute(&mut app.conn()).unwrap();
}

#[actix_web::test]
async fn statistics_say_if_they_cover_only_some_attempts() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "delivered", 1).await;
    let read = async || {
        let path = format!("/api/webhooks/{}/statistics", webhook["id"]);
        let told = program.get(path).await.assert_ok().json();
        (told["attempts"].clone(), told["attempts_are_capped"].clone())
    };
    repeat_attempts(&app, 999);
    assert_eq!(read().await, (json!(999), json!(false)));
    repeat_attempts(&app, 1_001);
    assert_eq!(read().await, (json!(1_000), json!(true)));
}

/// Returns the time at which a webhook's newest successful delivery ended, read from its row.
fn newest_success(app: &TestApp) -> DateTime<Utc> {
    let delivered = deliveries::table.filter(deliveries::state.eq("delivered"));
    delivered.select(max(deliveries::finished_at)).first::<Option<_>>(&mut app.conn()).unwrap().unwrap()
}

#[actix_web::test]
async fn the_last_success_of_a_busy_webhook_is_that_of_its_newest_delivery() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let vera = app.viewer("vera").await;
    let receiver = Receiver::start().await;
    receiver.answer([Reply::new(200), Reply::new(200), Reply::new(500)]);
    let webhook = program.subscribe(&receiver, json!({"retry_schedule": []})).await;
    let path = format!("/api/webhooks/{}", webhook["id"]);
    for state in ["delivered", "delivered", "failed"] {
        let event = program.publish("a", json!(1)).await;
        program.delivery_once(&event, state, 1).await;
        app.advance(TimeDelta::seconds(20));
        let newest = json!(newest_success(&app));
        assert_eq!(program.get(&path).await.assert_ok().json()["last_success_at"], newest, "{state}");
        assert_eq!(program.get("/api/webhooks").await.assert_ok().json()["data"][0]["last_success_at"], newest);
        let shown = newest_success(&app).to_rfc3339_opts(SecondsFormat::Millis, true);
        for page in ["/webhooks".to_owned(), format!("/webhooks/{}", webhook["id"])] {
            let page = vera.visit(page).await.assert_ok().html();
            assert!(page.has(&format!("time[datetime='{shown}']")), "{state}: {shown}");
        }
    }
    repeat_failures(&app, 60);
    assert_eq!(program.get(&path).await.json()["last_success_at"], json!(newest_success(&app)), "behind many failures");
}

/// Copies the newest attempt, which failed.
fn repeat_failures(app: &TestApp, count: i64) {
    let sql = format!(
        "INSERT INTO attempts SELECT r.* FROM (SELECT * FROM attempts WHERE NOT success ORDER BY id DESC LIMIT 1) a,
             generate_series(1, {count}) n,
             LATERAL jsonb_populate_record(NULL::attempts, to_jsonb(a) || jsonb_build_object('id', left(a.id::text, 19) || lpad(to_hex(n), 4, 'f') || right(a.id::text, 13))) r"
    );
    diesel::sql_query(sql).execute(&mut app.conn()).unwrap();
}

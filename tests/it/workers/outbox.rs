//! Publishing: deliveries leased at once, waiting deliveries, and limits on the rate of requests to a webhook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::domain::{Actor, TenantId, WebhookId};
use gatepost::schema::{attempts, deliveries, open_deliveries, webhooks};
use gatepost::services::dispatch::LeaseLimits;
use gatepost::services::events::NewEvent;
use gatepost::services::outbox::{self, Outcome, PublishRequest};
use gatepost::store::notify::Change;
use gatepost::store::{Db, Scope, Tx};
use serde_json::{Value, json};

use crate::support::database::rows_read;
use crate::support::receiver::Reply;
use crate::support::{Receiver, TestApp};

const ROOM: LeaseLimits = LeaseLimits { slots: 64, for_failing: 0, per_tenant: 48 };

/// Starts a server with one webhook and stops it, so that only the test claims deliveries.
async fn start_and_stop(settings: Value) -> TestApp {
    let mut app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, settings).await;
    app.stop().await;
    app
}

fn post(tenant: TenantId, events: usize) -> Arc<PublishRequest> {
    let event = || NewEvent::parse(Some("order.created"), Some("{}"), None).unwrap();
    Arc::new(PublishRequest::new(Actor::system(tenant), (0..events).map(|_| event()).collect()))
}

/// Publishes, and returns the outcome and the announced changes.
fn publish(app: &TestApp, posts: &[Arc<PublishRequest>], room: LeaseLimits) -> (Outcome, Vec<Change>) {
    app.tx(|tx| Ok((outbox::publish(tx, posts, room, Duration::from_secs(75))?, tx.announced().to_vec()))).unwrap()
}

#[actix_web::test]
async fn deliveries_with_room_are_leased_with_their_attempt_and_the_rest_waits() {
    let app = start_and_stop(json!({"max_in_flight": 3})).await;

    let (first, announced) = publish(&app, &[post(app.tenant, 1), post(app.tenant, 4)], ROOM);

    assert_eq!(first.published.iter().map(Vec::len).collect::<Vec<_>>(), [1, 4]);
    assert!(first.published.iter().flatten().all(|event| event.deliveries == 1));
    let webhook: WebhookId = webhooks::table.select(webhooks::id).first(&mut app.conn()).unwrap();
    let due = [Change::delivery_at([webhook])];
    assert_eq!((first.claims.len(), &announced[..]), (3, &due[..]));
    let conn = &mut app.conn();
    let leased = open_deliveries::table
        .filter(open_deliveries::lease_token.is_not_null())
        .filter(open_deliveries::attempt_id.is_not_null())
        .filter(open_deliveries::attempts_made.eq(1));
    assert_eq!(leased.count().get_result(conn), Ok(3_i64));
    assert_eq!(open_deliveries::table.count().get_result(conn), Ok(5_i64));
    assert_eq!(deliveries::table.count().get_result(conn), Ok(5_i64));

    // Two deliveries wait already, so new ones do not overtake them.
    let (second, announced) = publish(&app, &[post(app.tenant, 1)], LeaseLimits { per_tenant: 1_000, ..ROOM });
    assert_eq!((second.claims.len(), &announced[..]), (0, &due[..]));
}

#[actix_web::test]
async fn leases_respect_caps_and_rates_and_skip_failing_webhooks() {
    let app = start_and_stop(json!({"max_in_flight": 100})).await;
    let leased = |room| publish(&app, &[post(app.tenant, 2)], room).0.claims.len();
    assert_eq!(leased(LeaseLimits { slots: 0, ..ROOM }), 0);
    clear(&app);
    assert_eq!(leased(LeaseLimits { slots: 1, ..ROOM }), 1);
    clear(&app);
    assert_eq!(leased(LeaseLimits { per_tenant: 1, ..ROOM }), 1);
    assert_eq!(leased(LeaseLimits { per_tenant: 1, ..ROOM }), 0, "one is in flight");
    for (settings, expected) in [("rate_per_second = 1", 1), ("rate_per_second = NULL, failing_since = now()", 0)] {
        clear(&app);
        diesel::sql_query(format!("UPDATE webhooks SET {settings}")).execute(&mut app.conn()).unwrap();
        assert_eq!(leased(ROOM), expected, "{settings}");
    }
    clear(&app);
    diesel::sql_query("UPDATE webhooks SET failing_since = NULL").execute(&mut app.conn()).unwrap();
    assert_eq!(leased(ROOM), 2);
}

fn clear(app: &TestApp) {
    app.conn().batch_execute("DELETE FROM open_deliveries; DELETE FROM deliveries; DELETE FROM attempts").unwrap();
}

#[actix_web::test]
async fn a_crash_between_commit_and_sending_loses_no_event() {
    let mut app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    app.stop().await;
    let (leased, announced) = publish(&app, &[post(app.tenant, 3)], ROOM);
    assert_eq!((leased.claims.len(), announced.len()), (3, 0));
    // The process with the leases is gone, so these are not sent until the leases expire.
    drop(leased);
    let settings = crate::support::settings::for_test(&app.database.url, &[]);
    let next = gatepost::app::App::start(settings, app.clock.clone()).await.unwrap();
    let program = crate::support::Person { base: format!("http://{}", next.addr), ..program };
    program.publish("later", json!(1)).await;
    assert_eq!(receiver.wait_for(1).await[0].header("x-webhook-event"), "later");
    assert_eq!(receiver.count(), 1);
    diesel::sql_query(
        "UPDATE open_deliveries SET lease_until = now() - INTERVAL '1 second' WHERE lease_token IS NOT NULL",
    )
    .execute(&mut app.conn())
    .unwrap();

    let received = receiver.wait_for(4).await;
    assert!(received[1..].iter().all(|request| request.header("x-webhook-attempt") == "2"));
    let lost = attempts::table.filter(attempts::error.like("%stopped before%"));
    assert_eq!(lost.count().get_result(&mut app.conn()), Ok(3_i64));
    next.stop().await;
}

#[actix_web::test]
async fn while_another_process_claims_publishing_leases_nothing_and_does_not_wait() {
    let app = start_and_stop(json!({})).await;
    let mut other = app.conn();
    other
        .transaction::<_, diesel::result::Error, _>(|conn| {
            gatepost::store::claims::lock_claims(conn).unwrap();
            let (outcome, announced) = publish(&app, &[post(app.tenant, 1)], ROOM);
            assert_eq!((outcome.claims.len(), announced.len()), (0, 1));
            Ok(())
        })
        .unwrap();
}

#[actix_web::test]
async fn publishing_reads_only_the_webhooks_of_its_own_tenant() {
    let app = start_and_stop(json!({})).await;
    let other = app.make_tenant("other");
    let more = "INSERT INTO webhooks (tenant_id, name, url, events, is_active, payload_format, signature_style,
            timeout_seconds, max_in_flight, headers, created_at, updated_at)
        SELECT $1, name || number, 'https://' || number || '.example/', events, TRUE, payload_format, signature_style,
            timeout_seconds, max_in_flight, headers, created_at, updated_at FROM webhooks, generate_series(1, 500) number";
    diesel::sql_query(more).bind::<BigInt, _>(other).execute(&mut app.conn()).unwrap();
    let silent = "INSERT INTO unreachable_hosts (tenant_id, host, since) SELECT tenant_id, host, now() FROM webhooks
        WHERE tenant_id = $1";
    diesel::sql_query(silent).bind::<BigInt, _>(other).execute(&mut app.conn()).unwrap();
    // At the second call, there is room for six of twelve deliveries, and others wait.
    for (events, leased) in [(4, 4), (12, 6)] {
        let posts = vec![post(app.tenant, events)];
        let publish = move |tx: &mut Tx<'_>| {
            let outcome = outbox::publish(tx, &posts, ROOM, Duration::from_secs(75))?;
            Ok((outcome.claims.len(), rows_read(tx, &["webhooks", "unreachable_hosts"])))
        };
        // Same settings as the workers' connections.
        let (claims, read) = Db::by_index(&app.database.url, 1).tx(Scope::Instance, publish).await.unwrap();
        assert_eq!(claims, leased);
        assert!((1..50).contains(&read), "{read} rows were read");
    }
}

#[actix_web::test]
async fn concurrent_publishers_lose_no_event() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"max_in_flight": 5})).await;
    let publish = |number: usize| {
        let program = program.clone();
        async move { program.publish("a", json!({"number": number})).await }
    };
    let events = futures_util::future::join_all((0..60).map(publish)).await;
    for event in &events {
        program.delivery_once(event, "delivered", 1).await;
    }
    let mut numbers: Vec<u64> = receiver
        .received()
        .iter()
        .map(|request| serde_json::from_str::<Value>(&request.text()).unwrap()["data"]["number"].as_u64().unwrap())
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..60).collect::<Vec<_>>());
}

#[actix_web::test]
async fn one_request_can_publish_a_thousand_events() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let item = |number: usize| json!({"type": "order.created", "data": number});
    let all: Vec<Value> = (0..1_000).map(item).collect();
    let published = program.post_json("/api/events/batch", json!({"events": all})).await.assert_status(202).json();
    assert_eq!(published["data"].as_array().unwrap().len(), 1_000);
    let more: Vec<Value> = (0..1_001).map(item).collect();
    program.post_json("/api/events/batch", json!({"events": more})).await.assert_invalid("events");
}

#[actix_web::test]
async fn requests_per_second_never_exceed_the_webhook_s_rate() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({"rate_per_second": 3})).await;
    let begun = Instant::now();
    let mut events = Vec::new();
    for number in 0..7 {
        events.push(program.publish("a", json!(number)).await);
    }
    for event in &events {
        program.delivery_once(event, "delivered", 1).await;
    }
    assert!(Duration::from_secs(2) <= begun.elapsed(), "seven at three a second take more than two seconds");
    let times: Vec<chrono::DateTime<chrono::Utc>> = diesel::dsl::sql::<diesel::sql_types::Timestamptz>(
        "SELECT to_timestamp(('x' || substr(replace(id::text, '-', ''), 1, 12))::bit(48)::bigint / 1000.0) FROM attempts ORDER BY id",
    )
    .load(&mut app.conn())
    .unwrap();
    assert_eq!(times.len(), 7);
    for four in times.windows(4) {
        assert!(TimeDelta::seconds(1) <= four[3] - four[0], "{four:?}");
    }
}

#[actix_web::test]
async fn a_webhook_can_have_its_own_retry_schedule() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    receiver.answer_always(Reply::new(500));
    let webhook = program.subscribe(&receiver, json!({"retry_schedule": [60]})).await;
    assert_eq!(webhook["retry_schedule"], json!([60]));
    let event = program.publish("a", json!(1)).await;
    let waiting = program.delivery_once(&event, "retrying", 1).await;
    assert_eq!(waiting["attempts_max"], 2);
    app.advance(TimeDelta::seconds(80));
    program.delivery_once(&event, "failed", 2).await;
    let path = format!("/api/webhooks/{}", webhook["id"]);
    program.patch_json(&path, json!({"retry_schedule": [0]})).await.assert_invalid("retry_schedule[0]");
    program.patch_json(&path, json!({"rate_per_second": 0})).await.assert_invalid("rate_per_second");
    let usual = program.patch_json(&path, json!({"retry_schedule": null})).await.assert_ok().json();
    assert_eq!(usual["retry_schedule"], json!(null));
}

#[actix_web::test]
async fn owners_are_notified_a_day_before_a_webhook_is_disabled_and_when_it_is() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let (dead, well) = (Receiver::start().await, Receiver::start().await);
    dead.answer_always(Reply::new(500));
    let webhook = program.subscribe(&dead, json!({"events": ["a"], "retry_schedule": [518_400, 345_600]})).await;
    program.subscribe(&well, json!({"events": ["webhook.*"]})).await;
    let event = program.publish("a", json!(1)).await;
    program.delivery_once(&event, "retrying", 1).await;
    diesel::sql_query(
        "UPDATE webhooks SET failing_since = failing_since - INTERVAL '100 hours' WHERE failing_since IS NOT NULL",
    )
    .execute(&mut app.conn())
    .unwrap();

    let second = program.publish("a", json!(2)).await;
    program.delivery_once(&second, "retrying", 1).await;
    let told = well.wait_for(1).await;
    assert_eq!(told[0].header("x-webhook-event"), "webhook.failing");
    assert!(told[0].text().contains(&format!("\"id\":{}", webhook["id"])), "{}", told[0].text());

    diesel::sql_query(
        "UPDATE webhooks SET failing_since = failing_since - INTERVAL '24 hours' WHERE failing_since IS NOT NULL",
    )
    .execute(&mut app.conn())
    .unwrap();
    let third = program.publish("a", json!(3)).await;
    program.delivery_once(&third, "retrying", 1).await;
    let told = well.wait_for(2).await;
    assert_eq!(told[1].header("x-webhook-event"), "webhook.disabled");
    let path = format!("/api/webhooks/{}", webhook["id"]);
    assert_eq!(program.get(&path).await.json()["state"], "disabled");
}

//! Leases of deliveries: who holds one, and what happens to a late worker.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::domain::delivery::{ErrorKind, Outcome};
use gatepost::domain::retry::Jitter;
use gatepost::domain::{Clock, TenantId, UserId, WebhookId};
use gatepost::schema::{attempts, deliveries, open_deliveries, webhooks};
use gatepost::services::dispatch::{self, Claim, LeaseLimits, LeasedDeliveries, WebhookBacklog};
use gatepost::store::Tx;
use serde_json::json;

use crate::support::{Receiver, TestApp};

const LEASE: Duration = Duration::from_secs(75);

fn room(slots: i64) -> LeaseLimits {
    LeaseLimits { slots, for_failing: slots, per_tenant: 1_000 }
}

fn claim(conn: &mut PgConnection, slots: i64) -> Vec<Claim> {
    let room = room(slots);
    let webhooks = dispatch::look(conn, room, TimeDelta::zero()).unwrap().webhooks;
    lease(conn, &webhooks, room).claims
}

fn lease(conn: &mut PgConnection, webhooks: &[WebhookId], room: LeaseLimits) -> LeasedDeliveries {
    let now = Clock::default().now();
    Tx::run(conn, now, |tx| dispatch::claim(tx, webhooks, room, LEASE, TimeDelta::zero())).unwrap()
}

fn answered(status: u16) -> Outcome {
    Outcome { status: Some(status), ..Outcome::default() }
}

/// Returns a stopped server, so that only the test claims deliveries.
async fn start_and_stop(events: usize, max_in_flight: i64) -> TestApp {
    let mut app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    let webhook = program.subscribe(&receiver, json!({"max_in_flight": max_in_flight})).await;
    program.post_json(format!("/api/webhooks/{}/deactivation", webhook["id"]), json!({})).await.assert_ok();
    app.stop().await;
    diesel::sql_query("UPDATE webhooks SET is_active = TRUE").execute(&mut app.conn()).unwrap();
    for _ in 0..events {
        publish(&app, app.tenant);
    }
    app
}

fn publish(app: &TestApp, tenant: TenantId) {
    use gatepost::services::events::{NewEvent, publish};
    let actor = gatepost::domain::Actor { user: None::<UserId>, ..gatepost::domain::Actor::system(tenant) };
    let ask = NewEvent::parse(Some("a"), Some("1"), None).unwrap();
    app.tx(|tx| publish(tx, &actor, &ask)).unwrap();
}

#[actix_web::test]
async fn two_workers_share_deliveries_without_overlap() {
    let app = start_and_stop(40, 100).await;
    let claimed: Vec<usize> = std::thread::scope(|scope| {
        let work = || {
            let mut conn = app.conn();
            let mut count = 0;
            loop {
                let claims = claim(&mut conn, 3);
                if claims.is_empty() {
                    return count;
                }
                count += claims.len();
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(claimed.iter().sum::<usize>(), 40);
    let made: Vec<i64> = open_deliveries::table.select(open_deliveries::attempts_made).load(&mut app.conn()).unwrap();
    assert!(made.iter().all(|made| *made == 1), "{made:?}");
    let under_way = open_deliveries::table.filter(open_deliveries::attempt_id.is_not_null());
    assert_eq!(under_way.count().get_result(&mut app.conn()), Ok(40_i64));
}

#[actix_web::test]
async fn a_webhook_never_exceeds_its_cap_however_many_workers_claim() {
    let app = start_and_stop(20, 3).await;
    let mut conn = app.conn();
    assert_eq!(claim(&mut conn, 10).len(), 3);
    assert_eq!(claim(&mut app.conn(), 10).len(), 0);
}

#[actix_web::test]
async fn a_backlog_does_not_delay_another_tenant() {
    let app = start_and_stop(50, 100).await;
    let other = app.make_tenant("other");
    diesel::sql_query(format!(
        "INSERT INTO webhooks (tenant_id, name, url, events, is_active, payload_format, signature_style, timeout_seconds,
             max_in_flight, headers, created_at, updated_at)
         SELECT {other}, name, url, events, TRUE, payload_format, signature_style, timeout_seconds, max_in_flight, headers,
             created_at, updated_at FROM webhooks LIMIT 1"
    ))
    .execute(&mut app.conn())
    .unwrap();
    publish(&app, other);
    claim(&mut app.conn(), 2);
    let leased: Vec<i64> = open_deliveries::table
        .filter(open_deliveries::lease_token.is_not_null())
        .select(open_deliveries::tenant_id)
        .load(&mut app.conn())
        .unwrap();
    assert!(leased.contains(&other.0), "{leased:?}");
}

#[actix_web::test]
async fn an_expired_lease_is_taken_over_and_the_late_worker_changes_nothing() {
    let app = start_and_stop(1, 10).await;
    let mut conn = app.conn();
    let late = claim(&mut conn, 1).remove(0);
    assert_eq!(Tx::run(&mut conn, app.clock.now(), |tx| dispatch::reap(tx, 10)).unwrap(), 0);
    diesel::sql_query("UPDATE open_deliveries SET lease_until = clock_timestamp() - INTERVAL '1 second'")
        .execute(&mut conn)
        .unwrap();
    assert_eq!(Tx::run(&mut conn, app.clock.now(), |tx| dispatch::reap(tx, 10)).unwrap(), 1);

    let second = claim(&mut conn, 1).remove(0);
    let settlement = late.settle(&[], answered(500), Jitter::NONE);
    assert_eq!(app.tx(|tx| dispatch::settle(tx, &[settlement], TimeDelta::zero())).unwrap().late, 1);
    let settlement = second.settle(&[], answered(200), Jitter::NONE);
    assert_eq!(app.tx(|tx| dispatch::settle(tx, &[settlement], TimeDelta::zero())).unwrap().late, 0);

    let (state, made): (String, i64) =
        deliveries::table.select((deliveries::state, deliveries::attempts_made)).first(&mut conn).unwrap();
    assert_eq!((state.as_str(), made), ("delivered", 2));
    let log: Vec<(bool, Option<String>)> =
        attempts::table.order(attempts::number).select((attempts::success, attempts::error)).load(&mut conn).unwrap();
    assert!(!log[0].0 && log[0].1.as_deref().unwrap().contains("stopped before"), "{log:?}");
    assert!(log[1].0, "{log:?}");
}

#[actix_web::test]
async fn a_delivery_whose_leases_keep_expiring_fails() {
    let app = start_and_stop(1, 10).await;
    let mut conn = app.conn();
    for _ in 0..10 {
        assert_eq!(claim(&mut conn, 1).len(), 1);
        diesel::sql_query("UPDATE open_deliveries SET lease_until = clock_timestamp() - INTERVAL '1 second'")
            .execute(&mut conn)
            .unwrap();
        Tx::run(&mut conn, app.clock.now(), |tx| dispatch::reap(tx, 10)).unwrap();
    }
    assert!(claim(&mut conn, 1).is_empty());
    assert_eq!(deliveries::table.select(deliveries::state).first(&mut conn), Ok("failed".to_owned()));
}

#[actix_web::test]
async fn deliveries_of_suspended_tenants_and_paused_webhooks_wait() {
    let app = start_and_stop(1, 10).await;
    let mut conn = app.conn();
    diesel::sql_query("UPDATE tenants SET is_active = FALSE, suspended_at = now()").execute(&mut conn).unwrap();
    assert!(claim(&mut conn, 1).is_empty());
    diesel::sql_query("UPDATE tenants SET is_active = TRUE, suspended_at = NULL").execute(&mut conn).unwrap();
    diesel::sql_query("UPDATE webhooks SET is_active = FALSE").execute(&mut conn).unwrap();
    assert!(claim(&mut conn, 1).is_empty());
    diesel::sql_query("UPDATE webhooks SET is_active = TRUE").execute(&mut conn).unwrap();
    assert_eq!(claim(&mut conn, 1).len(), 1);
}

/// Copies the first webhook, with this SQL expression as its URL.
fn add_webhook(app: &TestApp, url: &str) {
    diesel::sql_query(format!(
        "WITH made AS (
             INSERT INTO webhooks (tenant_id, name, url, events, is_active, payload_format, signature_style, timeout_seconds,
                 max_in_flight, headers, created_at, updated_at)
             SELECT tenant_id, name, {url}, events, TRUE, payload_format, signature_style, timeout_seconds, max_in_flight,
                 headers, created_at, updated_at FROM webhooks ORDER BY id LIMIT 1
             RETURNING id
         )
         INSERT INTO signing_secrets (tenant_id, webhook_id, sealed, created_at)
         SELECT tenant_id, made.id, sealed, created_at FROM signing_secrets, made LIMIT 1"
    ))
    .execute(&mut app.conn())
    .unwrap();
}

#[actix_web::test]
async fn a_host_that_does_not_respond_gets_one_request_at_a_time() {
    let app = start_and_stop(1, 10).await;
    let conn = &mut app.conn();
    let settle = |claims: Vec<Claim>, outcome: &Outcome| {
        for claim in claims {
            let settlement = claim.settle(&[], outcome.clone(), Jitter::NONE);
            app.tx(|tx| dispatch::settle(tx, &[settlement], TimeDelta::zero())).unwrap();
        }
    };
    let silent = Outcome::failed(ErrorKind::Connect, "nobody listens");
    let first = claim(conn, 1);
    settle(first, &silent);
    add_webhook(&app, "url || '/second'");
    add_webhook(&app, "'https://elsewhere.example/hook'");
    (0..5).for_each(|_| publish(&app, app.tenant));

    let held = claim(conn, 100);
    // One delivery of the failing webhook, one of the other webhook of its host, and all five of the other host.
    assert_eq!((held.len(), held.iter().filter(|claim| claim.is_failing()).count()), (7, 2));
    assert!(claim(conn, 100).is_empty(), "the host is being asked already");
    let (asked, elsewhere) = held.into_iter().partition(Claim::is_failing);
    settle(elsewhere, &answered(200));
    settle(asked, &silent);

    let next = claim(conn, 100);
    assert_eq!(next.len(), 1, "both have failed by now");
    settle(next, &answered(200));
    // The webhook that succeeded gets its three remaining deliveries. The other one still fails, and gets one at a
    // time.
    assert_eq!(claim(conn, 100).len(), 4);
}

#[actix_web::test]
async fn a_look_returns_webhooks_that_can_be_sent_and_webhooks_at_their_cap() {
    let app = start_and_stop(0, 2).await;
    (0..9).for_each(|number| add_webhook(&app, &format!("'https://{number}.example/hook'")));
    (0..3).for_each(|_| publish(&app, app.tenant));
    let conn = &mut app.conn();
    let look = |conn: &mut PgConnection, room| dispatch::look(conn, room, TimeDelta::zero()).unwrap();

    let first = look(conn, room(4));
    // A look returns no more webhooks than there are slots.
    assert_eq!((first.webhooks.len(), first.held_up.len()), (4, 0));
    let all: HashSet<_> = look(conn, room(100)).webhooks.into_iter().collect();
    assert_eq!(all.len(), 10);

    // Each webhook's cap allows two requests at once.
    assert_eq!(claim(conn, 100).len(), 20);
    let each: HashSet<_> = all.iter().map(|webhook| (app.tenant, *webhook)).collect();
    let full = look(conn, room(100));
    assert_eq!((full.webhooks.len(), full.held_up.into_iter().collect::<HashSet<_>>()), (0, each.clone()));
    // Only webhooks that are named can be leased.
    diesel::sql_query("UPDATE webhooks SET max_in_flight = 5").execute(conn).unwrap();
    assert!(lease(conn, &[], room(100)).claims.is_empty());
    let capped = look(conn, LeaseLimits { per_tenant: 20, ..room(100) });
    assert_eq!((capped.webhooks.len(), capped.held_up.into_iter().collect::<HashSet<_>>()), (0, each));
    assert_eq!(look(conn, room(100)).webhooks.len(), 10);
}

#[actix_web::test]
async fn a_lease_reports_remaining_deliveries_of_healthy_webhooks() {
    let app = start_and_stop(5, 3).await;
    let conn = &mut app.conn();
    let webhook: WebhookId = webhooks::table.select(webhooks::id).first(conn).unwrap();
    let leased = |conn: &mut PgConnection, room| {
        let LeasedDeliveries { claims, with_more } = lease(conn, &[webhook], room);
        (claims.len(), with_more)
    };
    let left = vec![WebhookBacklog { tenant_id: app.tenant, webhook_id: webhook, is_paced: false }];

    // Limited by the number of slots, then by the tenant's cap, then by the webhook's own cap.
    assert_eq!(leased(conn, room(1)), (1, left.clone()));
    assert_eq!(leased(conn, LeaseLimits { per_tenant: 2, ..room(100) }), (1, left.clone()));
    assert_eq!(leased(conn, room(100)), (1, left.clone()));
    assert_eq!(leased(conn, room(100)), (0, left.clone()));
    diesel::sql_query("UPDATE webhooks SET rate_per_second = 3").execute(conn).unwrap();
    assert_eq!(leased(conn, room(100)), (0, vec![WebhookBacklog { is_paced: true, ..left[0] }]));
    diesel::sql_query("UPDATE webhooks SET rate_per_second = NULL").execute(conn).unwrap();
    diesel::sql_query("UPDATE tenants SET is_active = FALSE, suspended_at = now()").execute(conn).unwrap();
    assert_eq!(leased(conn, room(100)), (0, Vec::new()), "what is suspended waits for nothing that comes by itself");
    diesel::sql_query("UPDATE tenants SET is_active = TRUE, suspended_at = NULL").execute(conn).unwrap();
    diesel::sql_query("UPDATE webhooks SET failing_since = now()").execute(conn).unwrap();
    assert_eq!(leased(conn, room(100)), (0, Vec::new()), "one that fails waits for its own answer");
    diesel::sql_query("UPDATE webhooks SET failing_since = NULL, max_in_flight = 5").execute(conn).unwrap();
    assert_eq!(leased(conn, room(100)), (2, Vec::new()));
}

//! Retention: partitions are created ahead, and old ones are dropped.

use chrono::{Days, TimeDelta, Utc};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use gatepost::config::Retention;
use gatepost::model::usage_log::usage_logs;
use gatepost::schema::{attempts, deliveries, events, usage_hours, usage_minutes};
use gatepost::store::{Db, partitions};
use gatepost::workers::prune::Pruner;
use serde_json::json;
use tokio::sync::watch;

use crate::support::TestApp;

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

fn partitions(app: &TestApp, table: &str) -> Vec<String> {
    let names = diesel::sql_query(
        "SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = $1::regclass ORDER BY 1",
    );
    let names: Vec<Name> = names.bind::<Text, _>(table).load(&mut app.conn()).unwrap();
    names.into_iter().map(|row| row.name).collect()
}

fn counts(app: &TestApp) -> [i64; 3] {
    let conn = &mut app.conn();
    [
        usage_logs::table.count().get_result(conn).unwrap(),
        usage_minutes::table.filter(usage_minutes::api_key_id.eq(0)).count().get_result(conn).unwrap(),
        usage_hours::table.filter(usage_hours::api_key_id.eq(0)).count().get_result(conn).unwrap(),
    ]
}

#[actix_web::test]
async fn partitions_are_created_ahead_and_old_ones_dropped_with_their_rows() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "k"})).await.json();
    let holder = app.key(key["secret"].as_str().unwrap());
    let keeper = Pruner {
        db: Db::new(&app.database.url, 1),
        clock: app.clock.clone(),
        retention: Retention { usage_days: 30, buckets_days: 400, deliveries_days: 30, audit_days: 400 },
    };
    let (_stop, mut stopped) = watch::channel(false);
    holder.get("/protected/").await.assert_ok();
    program.get("/api/usage").await.assert_ok();
    let first_day = app.clock.now().date_naive();

    keeper.round(&mut stopped).await;
    let names = partitions(&app, "usage_logs");
    assert_eq!(names.len(), 8, "{names:?}");
    assert_eq!(
        *names.last().unwrap(),
        first_day.checked_add_days(Days::new(7)).unwrap().format("usage_logs_%Y%m%d").to_string()
    );

    // Long after the last partition, the first use of a day creates a partition.
    app.advance(TimeDelta::days(35));
    holder.get("/protected/").await.assert_ok();
    assert_eq!(program.get("/api/usage").await.assert_ok().json()["total"], 1);
    assert_eq!(counts(&app), [2, 2, 2]);

    keeper.round(&mut stopped).await;
    assert_eq!(counts(&app), [1, 1, 2], "records and minutes of 35 days ago are gone, their hours are kept");
    assert!(!partitions(&app, "usage_logs").contains(&first_day.format("usage_logs_%Y%m%d").to_string()));
    app.advance(TimeDelta::days(440));
    keeper.round(&mut stopped).await;
    assert_eq!(counts(&app), [0, 0, 0]);
}

/// Inserts a delivery from this number of days ago, with its event and its attempt. An open delivery has no attempt.
fn deliver_in_the_past(app: &TestApp, days: i64, is_open: bool) {
    let at = Utc::now() - TimeDelta::days(days);
    partitions::make_by_id(&mut app.conn(), &[at]).unwrap();
    let tenant = app.tenant;
    app.conn()
        .batch_execute(&format!(
            "INSERT INTO events (id, tenant_id, type, payload, created_at)
             SELECT uuid_v7('{at}'), {tenant}, 'a', '{{}}', '{at}';
             INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_max, created_at, finished_at)
             SELECT uuid_v7('{at}'), tenant_id, id, type, 1, CASE WHEN {is_open} THEN 'pending' ELSE 'delivered' END, 10,
                 created_at, CASE WHEN NOT {is_open} THEN created_at END
             FROM events ORDER BY created_at = '{at}' DESC, id DESC LIMIT 1;
             INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, attempts_max)
             SELECT tenant_id, id, event_id, event_type, webhook_id, 0, 10 FROM deliveries WHERE created_at = '{at}' AND {is_open};
             INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, created_at)
             SELECT uuid_v7('{at}'), tenant_id, id, event_id, event_type, webhook_id, 1, '', created_at
             FROM deliveries WHERE created_at = '{at}' AND NOT {is_open};"
        ))
        .unwrap();
}

#[actix_web::test]
async fn old_days_of_deliveries_are_dropped_unless_a_delivery_is_open() {
    let app = TestApp::start().await;
    let today = partitions(&app, "deliveries");
    deliver_in_the_past(&app, 10, false);
    deliver_in_the_past(&app, 40, false);
    deliver_in_the_past(&app, 41, false);
    deliver_in_the_past(&app, 41, true);
    let keeper = Pruner {
        db: Db::new(&app.database.url, 1),
        clock: app.clock.clone(),
        retention: Retention { usage_days: 30, buckets_days: 400, deliveries_days: 30, audit_days: 400 },
    };
    let (_stop, mut stopped) = watch::channel(false);
    keeper.round(&mut stopped).await;

    let conn = &mut app.conn();
    let name = |days: i64| (Utc::now() - TimeDelta::days(days)).format("deliveries_%Y%m%d").to_string();
    let left = partitions(&app, "deliveries");
    assert!(left.contains(&name(41)) && !left.contains(&name(40)) && left.contains(&name(10)), "{left:?}");
    assert!(today.iter().all(|part| left.contains(part)), "{left:?}");
    let states: Vec<String> = deliveries::table.order(deliveries::id).select(deliveries::state).load(conn).unwrap();
    assert_eq!(states, ["pending", "delivered"], "of that day the open one alone");
    assert_eq!(events::table.count().get_result(conn), Ok(2_i64));
    assert_eq!(attempts::table.count().get_result(conn), Ok(1_i64));

    conn.batch_execute("DELETE FROM open_deliveries").unwrap();
    keeper.round(&mut stopped).await;
    assert!(!partitions(&app, "deliveries").contains(&name(41)));
    assert_eq!(events::table.count().get_result(conn), Ok(1_i64));
}

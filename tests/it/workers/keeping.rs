//! What is kept, and for how long: partitions made ahead, old ones dropped.

use chrono::{Days, TimeDelta};
use diesel::prelude::*;
use diesel::sql_types::Text;
use gatepost::config::Retention;
use gatepost::schema::{usage_hours, usage_logs, usage_minutes};
use gatepost::store::Db;
use gatepost::workers::prune::Keeper;
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
async fn partitions_are_made_ahead_and_old_ones_are_dropped_with_their_rows() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "k"})).await.json();
    let holder = app.key(key["secret"].as_str().unwrap());
    let keeper = Keeper {
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

    // Long after the last partition: the first use of a day makes its own.
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

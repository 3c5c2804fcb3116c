//! Fair shares of the database: one tenant's slow calls do not block other tenants, and statements read few rows,
//! however often their connection has run them.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};
use gatepost::domain::page::Paging;
use gatepost::domain::{Error, Role, UserId};
use gatepost::services::deliveries;
use gatepost::store::attempts::AttemptFilter;
use gatepost::store::{self, Db, Scope, Tx};
use serde_json::json;

use crate::support::database::rows_read;
use crate::support::{Answer, Person, TestApp};

/// More calls than the API has connections.
const CALLS: usize = 8;

/// Lock on a table that blocks each statement on it until dropped.
struct TableLock(PgConnection);

impl TableLock {
    fn new(app: &TestApp, table: &str) -> Self {
        let mut conn = app.conn();
        AnsiTransactionManager::begin_transaction(&mut conn).unwrap();
        conn.batch_execute(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).unwrap();
        Self(conn)
    }

    fn release(mut self) {
        AnsiTransactionManager::rollback_transaction(&mut self.0).unwrap();
    }
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Waits until this number of the server's statements wait for a lock.
async fn until_held_up(app: &TestApp, statements: i64) {
    let sql = "SELECT count(*) AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for _ in 0..400 {
        if statements <= diesel::sql_query(sql).get_result::<Count>(&mut app.conn()).unwrap().count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{statements} statements should be held up");
}

/// Sends these requests concurrently, without waiting for the responses.
fn all_at_once(person: &Person, path: &'static str, count: usize) -> Vec<actix_web::rt::task::JoinHandle<Answer>> {
    let call = || {
        let person = person.clone();
        actix_web::rt::spawn(async move { person.get(path).await })
    };
    (0..count).map(|_| call()).collect()
}

/// Returns a program of the tenant `acme`, and one of another tenant.
async fn two_programs(app: &TestApp) -> (Person, Person) {
    let other = app.make_tenant("other");
    let owner = app.person("oscar", other, Role::Owner).await;
    let token = app.mint_token(UserId(owner.user_id), Some(other), &["*"]);
    (app.program().await, Person::with_token(&app.base, &token))
}

#[actix_web::test]
async fn slow_calls_of_one_tenant_do_not_block_the_api_for_others() {
    let app = TestApp::start().await;
    let (slow, other) = two_programs(&app).await;
    let held = TableLock::new(&app, "webhooks");
    let calls = all_at_once(&slow, "/api/webhooks", CALLS);
    until_held_up(&app, 4).await;

    other.get("/api/keys").await.assert_ok();

    // Requests beyond the tenant's share wait, and are then refused.
    let mut calls = futures_util::future::select_all(calls);
    for _ in 0..CALLS - 4 {
        let (answer, _, rest) = calls.await;
        let answer = answer.unwrap();
        answer.assert_problem(429, "too_many_requests");
        assert_eq!(answer.header("retry-after"), "2");
        calls = futures_util::future::select_all(rest);
    }
    other.get("/api/keys").await.assert_ok();
    held.release();
    for answer in futures_util::future::join_all(calls.into_inner()).await {
        answer.unwrap().assert_ok();
    }
}

#[actix_web::test]
async fn slow_reports_of_one_tenant_block_neither_its_calls_nor_other_tenants_reports() {
    let app = TestApp::start().await;
    let (slow, other) = two_programs(&app).await;
    let held = TableLock::new(&app, "usage_hours");
    let reports = all_at_once(&slow, "/api/usage?group_by=key", 3);
    until_held_up(&app, 1).await;

    slow.get("/api/keys").await.assert_ok();
    // Usage records are in another table.
    other.get("/api/usage/records").await.assert_ok();

    held.release();
    for report in reports {
        report.await.unwrap().assert_ok();
    }
}

#[actix_web::test]
async fn a_report_that_takes_too_long_is_stopped_with_advice() {
    let app = TestApp::start_with(&[("GATEPOST_REPORT_SECONDS", "1")]).await;
    let owner = app.owner("olga").await;
    let program = app.token_of(&owner, &["*"]);
    let held = TableLock::new(&app, "usage_hours");

    let refused = program.get("/api/usage").await;
    let problem = refused.assert_problem(422, "statement_timeout");
    assert!(problem["detail"].as_str().unwrap().contains("shorter time span"), "{problem}");
    let page = owner.visit("/usage").await;
    page.assert_status(422);
    assert!(page.html().all_text().contains("shorter time span"), "{}", page.body);

    held.release();
    program.get("/api/usage").await.assert_ok();
}

#[actix_web::test]
async fn a_list_reads_as_few_rows_at_the_tenth_call_of_a_connection_as_at_the_first() {
    let app = TestApp::start().await;
    // 20,000 attempts, of which only the oldest 20 failed.
    app.conn()
        .batch_execute(
            "INSERT INTO events (id, tenant_id, type, payload, created_at)
             SELECT uuid_v7(now()), 1, 'a', '{}', now();
             INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url,
                 response_status, duration_ms, success, error, created_at, finished_at)
             SELECT uuid_v7(now() + n * INTERVAL '1 ms'), 1, gen_random_uuid(), e.id, 'a', 1, 1, 'https://a.example/',
                 CASE WHEN n <= 20 THEN 500 ELSE 200 END, 1, n > 20, CASE WHEN n <= 20 THEN 'answered 500' END, now(), now()
             FROM (SELECT id FROM events LIMIT 1) e, generate_series(1, 20000) n;
             ANALYZE attempts; ANALYZE events",
        )
        .unwrap();
    let db = Db::new(&app.database.url, 1);
    let scope = Scope::Tenant(app.tenant);

    let mut read = Vec::new();
    for _ in 0..10 {
        let days = [0, 1].map(|ahead| (app.clock.now() + TimeDelta::days(ahead)).format("attempts_%Y%m%d").to_string());
        let list = move |tx: &mut Tx<'_>| {
            let filter = AttemptFilter { success: Some(false), ..AttemptFilter::default() };
            let days = days.each_ref().map(String::as_str);
            let before = rows_read(tx, &days);
            let page = deliveries::attempts(tx, scope, &filter, &Paging::default())?;
            Ok((page.rows.len(), rows_read(tx, &days) - before))
        };
        let (rows, rows_read) = db.read(scope, list).await.unwrap();
        assert_eq!(rows, 20);
        read.push(rows_read);
    }
    assert!(read.iter().all(|rows| *rows < 100), "rows read: {read:?}");
}

/// Counts keys row by row. Returns the numbers of held and of active keys.
fn row_counts(app: &TestApp) -> (i64, i64) {
    let conn = &mut app.conn();
    let alive = "deleted_at IS NULL AND revoked_at IS NULL AND rotates_out_at IS NULL AND (expires_at IS NULL OR expires_at > $1)";
    let mut count = |more: &str| {
        let sql = format!("SELECT count(*) AS count FROM api_keys WHERE {alive} {more}");
        diesel::sql_query(sql).bind::<Timestamptz, _>(app.clock.now()).get_result::<Count>(conn).unwrap().count
    };
    (count(""), count("AND is_active"))
}

/// Returns the stored counts of held and active keys, read and then folded.
fn stored_counts(app: &TestApp) -> [(i64, i64); 2] {
    let (conn, now) = (&mut app.conn(), app.clock.now());
    let found = store::key_counts::find(conn, app.tenant, now).unwrap();
    let folded = store::key_counts::fold(conn, app.tenant, now).unwrap();
    [found, folded].map(|count| (count.held, count.active))
}

#[actix_web::test]
async fn stored_counts_of_keys_follow_every_change() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let mint = async |name: &str, minutes: Option<i64>| {
        let expires_at = minutes.map(|minutes| (app.clock.now() + TimeDelta::minutes(minutes)).to_rfc3339());
        let made = program.post_json("/api/keys", json!({"name": name, "expires_at": expires_at})).await;
        made.assert_status(201).json()["id"].as_i64().unwrap()
    };
    let (first, second, third) =
        (mint("first", None).await, mint("second", Some(5)).await, mint("third", Some(60)).await);
    super::key_lists::multiply(&app, 200);
    let act = async |key: i64, act: &str| {
        program.post_json(format!("/api/keys/{key}/{act}"), json!({})).await;
        assert_eq!(stored_counts(&app), [row_counts(&app); 2], "after {act}");
    };
    act(first, "rotation").await;
    act(third, "deactivation").await;
    act(third, "activation").await;
    app.advance(TimeDelta::minutes(6));
    act(second, "deactivation").await;
    // Reactivates an expired key, which then expires again.
    let later = (app.clock.now() + TimeDelta::minutes(5)).to_rfc3339();
    program.patch_json(format!("/api/keys/{second}"), json!({"expires_at": later})).await.assert_ok();
    act(second, "activation").await;
    app.advance(TimeDelta::minutes(6));
    act(third, "revocation").await;
    program.delete(format!("/api/keys/{second}")).await.assert_status(204);
    act(second, "restoration").await;
    let ids: Vec<i64> =
        gatepost::schema::api_keys::table.select(gatepost::schema::api_keys::id).load(&mut app.conn()).unwrap();
    program.post_json("/api/keys/bulk-deletion", json!({"ids": ids[..50]})).await.assert_ok();
    act(ids[60], "revocation").await;
    app.conn().batch_execute("DELETE FROM api_keys WHERE id % 3 = 0").unwrap();
    assert_eq!(stored_counts(&app), [row_counts(&app); 2]);
    // Setting the clock back makes expired keys valid again.
    let soon = mint("soon", Some(5)).await;
    app.advance(TimeDelta::minutes(6));
    act(soon, "deactivation").await;
    let late = stored_counts(&app);
    app.advance(TimeDelta::minutes(-6));
    assert_eq!(stored_counts(&app), [row_counts(&app); 2]);
    assert!(late[0].0 < row_counts(&app).0);
}

#[actix_web::test]
async fn checking_a_plan_s_limit_of_keys_reads_few_rows() {
    let app = TestApp::start().await;
    let program = app.program().await;
    program.post_json("/api/keys", json!({"name": "first"})).await.assert_status(201);
    super::key_lists::multiply(&app, 5_000);
    app.conn().batch_execute("VACUUM ANALYZE api_keys").unwrap();
    let (tenant, now) = (app.tenant, app.clock.now());

    let read = move |tx: &mut Tx<'_>| {
        let held = store::key_counts::find(tx, tenant, now)?.held;
        let folded = store::key_counts::fold(tx, tenant, now)?.held;
        Ok((held, folded, rows_read(tx, &["api_keys", "key_counts"])))
    };
    let (held, folded, read) = Db::new(&app.database.url, 1).tx(Scope::Tenant(tenant), read).await.unwrap();

    // One key in a hundred is revoked.
    assert_eq!((held, folded), (4_951, 4_951));
    assert!(read < 20, "{read} rows were read");
}

#[actix_web::test]
async fn a_statement_timeout_of_the_database_is_reported_as_unavailable() {
    let app = TestApp::start().await;
    let slow = |tx: &mut Tx<'_>| {
        tx.batch_execute("SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)")?;
        Ok(())
    };
    let refused = Db::new(&app.database.url, 1).tx(Scope::Tenant(app.tenant), slow).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[actix_web::test]
async fn concurrent_changes_of_keys_of_one_lineage_all_succeed() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let mut keys = vec![program.post_json("/api/keys", json!({"name": "first"})).await.assert_status(201).json()];
    for _ in 0..3 {
        let path = format!("/api/keys/{}/rotation", keys.last().unwrap()["id"]);
        keys.push(program.post_json(path, json!({"overlap_seconds": 3600})).await.assert_status(201).json());
    }
    let changes = (0..12).map(|n| {
        let path = format!("/api/keys/{}", keys[n % 4]["id"]);
        let program = &program;
        async move { program.patch_json(path, json!({"rate_limit": 100 + n})).await }
    });
    for answer in futures_util::future::join_all(changes).await {
        answer.assert_ok();
    }
}

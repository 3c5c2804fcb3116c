//! `/readyz`: answered from memory, with the reasons why requests would fail.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use gatepost::domain::Role;
use serde_json::{Value, json};

use crate::outage::until;
use crate::support::{Person, TestApp};

/// Connections in the API pool.
const API_CONNECTIONS: usize = 6;

fn codes(problem: &Value) -> Vec<&str> {
    problem["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    count: i64,
}

/// Counts statements of this database that wait for a lock.
fn waiting(conn: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) AS count FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    diesel::sql_query(sql).get_result::<Count>(conn).unwrap().count
}

/// Returns one program for each connection in the API pool, each of another tenant and with the id of its own key.
async fn programs(app: &TestApp) -> Vec<(Person, String)> {
    let mut programs = Vec::new();
    for number in 0..API_CONNECTIONS {
        let tenant = app.make_tenant(&format!("tenant-{number}"));
        let user = app.make_user(&format!("ada-{number}"), false);
        app.make_member(tenant, user, Role::Owner);
        let program = Person::with_token(&app.base, &app.mint_token(user, Some(tenant), &["*"]));
        let minted = program.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201).json();
        programs.push((program, minted["id"].to_string()));
    }
    programs
}

#[actix_web::test]
async fn readiness_does_not_wait_behind_requests_that_hold_every_api_connection() {
    let app = TestApp::start().await;
    let programs = programs(&app).await;
    let (mut holder, mut observer) = (app.conn(), app.conn());
    holder.batch_execute("BEGIN; SELECT FROM api_keys FOR UPDATE").unwrap();
    let slow: Vec<_> = programs
        .into_iter()
        .map(|(program, id)| {
            let path = format!("/api/keys/{id}");
            tokio::spawn(async move { program.patch_json(path, json!({"name": "renamed"})).await.status })
        })
        .collect();
    while waiting(&mut observer) < i64::try_from(API_CONNECTIONS).unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }

    app.stranger().get("/readyz").await.assert_ok();

    holder.batch_execute("ROLLBACK").unwrap();
    for answer in slow {
        assert_eq!(answer.await.unwrap(), 200);
    }
}

#[actix_web::test]
async fn metrics_are_served_to_this_machine_and_refused_through_a_proxy_on_it() {
    // The proxy may be trusted or not.
    for trusted in ["", "127.0.0.1"] {
        let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", trusted)]).await;
        let stranger = app.stranger();
        stranger.get("/metrics").await.assert_ok();
        for name in ["forwarded", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "via", "cf-connecting-ip"] {
            for value in ["203.0.113.7", "127.0.0.1", ""] {
                stranger.with(name, value).get("/metrics").await.assert_problem(404, "not_found");
            }
        }
        stranger.with("host", "keys.example.com").get("/metrics").await.assert_problem(404, "not_found");
    }
}

#[actix_web::test]
async fn an_unreachable_database_is_a_reason_without_names_of_host_and_database() {
    let app = TestApp::start().await;
    app.database.cut();
    let stranger = app.stranger();
    until(503, &stranger, "/readyz").await;

    let answer = stranger.get("/readyz").await;

    assert_eq!(codes(&answer.assert_problem(503, "unavailable")), ["database"]);
    assert_eq!(answer.header("retry-after"), "2");
    let url = url::Url::parse(&app.database.url).unwrap();
    let name = url.path().trim_start_matches('/');
    assert!(!answer.body.contains(name) && !answer.body.contains("postgres"), "{}", answer.body);
    app.database.mend();
    until(200, &stranger, "/readyz").await;
}

#[actix_web::test]
async fn a_missing_migration_is_a_reason() {
    let app = TestApp::start().await;
    let stranger = app.stranger();
    stranger.get("/readyz").await.assert_ok();
    let table = "__diesel_schema_migrations";
    let forget = format!("DELETE FROM {table} WHERE version = (SELECT max(version) FROM {table})");
    app.conn().batch_execute(&forget).unwrap();

    until(503, &stranger, "/readyz").await;

    let answer = stranger.get("/readyz").await;
    assert_eq!(codes(&answer.assert_problem(503, "unavailable")), ["migrations"]);
    assert_eq!(answer.header("retry-after"), "", "waiting does not help");
}

//! Usage found by request id: recorded calls by the time in their id, reported calls by an index.

use std::time::Duration;

use chrono::TimeDelta;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Text, Timestamptz};
use gatepost::domain::page::Paging;
use gatepost::store::usage_logs::{self, LogFilter};
use gatepost::store::{Db, Scope, Tx};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{admin, mint, text};
use crate::support::database::rows_read;
use crate::support::{Person, TestApp};

async fn endpoints(token: &Person, request: &str) -> Vec<String> {
    let found = token.get(format!("/api/usage/records?request_id={request}")).await.assert_ok().json();
    found["data"].as_array().unwrap().iter().map(|record| text(record, "endpoint").to_owned()).collect()
}

/// Reports a call from an hour earlier.
async fn report(app: &TestApp, token: &Person, key: &Value, request: &str) {
    let at = (app.clock.now() - TimeDelta::hours(1)).to_rfc3339();
    let record = json!({"key_id": key["id"], "endpoint": "/reported", "request_id": request, "at": at});
    token.post_json("/api/usage", json!({"records": [record]})).await.assert_status(202);
}

#[actix_web::test]
async fn a_request_is_found_with_its_reported_calls_until_its_records_are_dropped() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let asked = |path: &'static str| token.post_json(path, json!({"key": key["secret"], "endpoint": "/own"}));
    for path in ["/api/keys/verification", "/api/keys/verify"] {
        let request = text(&asked(path).await.json(), "request_id").to_owned();
        assert_eq!(endpoints(&token, &request).await, ["/own"]);
        report(&app, &token, &key, &request).await;
        app.advance(TimeDelta::days(3));
        assert_eq!(endpoints(&token, &request).await, ["/own", "/reported"]);
    }
    report(&app, &token, &key, "order-7").await;
    assert_eq!(endpoints(&token, "order-7").await, ["/reported"]);
    assert!(endpoints(&token, "019ac3e2-7c00-7000-8000-000000000000").await.is_empty());
}

#[actix_web::test]
async fn an_operator_finds_a_request_of_any_tenant() {
    let app = TestApp::start().await;
    let olga = app.operator("olga").await;
    let everywhere = app.instance_token_of(&olga, &["*"]);
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    app.make_tenant("beta");
    let ask = json!({"key": key["secret"], "endpoint": "/own"});
    let request = text(&token.post_json("/api/keys/verification", ask).await.json(), "request_id").to_owned();
    assert_eq!(endpoints(&everywhere, &request).await, ["/own"]);
    report(&app, &token, &key, &request).await;
    report(&app, &token, &key, "order-7").await;
    assert_eq!(endpoints(&everywhere, &request).await, ["/own", "/reported"]);
    assert_eq!(endpoints(&everywhere, "order-7").await, ["/reported"]);
    assert!(endpoints(&everywhere, "019ac3e2-7c00-7000-8000-000000000000").await.is_empty());
}

/// In a batch with look-ups and hashing, records of one request can be seconds apart.
#[actix_web::test]
async fn all_records_of_a_long_request_are_found() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let asked = token.post_json("/api/keys/verification", json!({"key": key["secret"], "endpoint": "/own"})).await;
    let request = text(&asked.json(), "request_id").to_owned();
    app.running().state.gate.flush().await;
    let later =
        "SELECT make_partitions('usage_logs', 'day', array_agg(created_at + INTERVAL '1 minute')) FROM usage_logs";
    app.conn().batch_execute(later).unwrap();
    diesel::sql_query(
        "INSERT INTO usage_logs (tenant_id, api_key_id, request_id, endpoint, method, status, outcome, duration_us, cost, created_at)
         SELECT tenant_id, api_key_id, request_id, '/' || n, method, status, outcome, duration_us, cost, created_at + n * INTERVAL '4 s'
         FROM usage_logs CROSS JOIN generate_series(1, 3) n",
    )
    .execute(&mut app.conn())
    .unwrap();
    assert_eq!(endpoints(&token, &request).await, ["/3", "/2", "/1", "/own"]);
}

#[actix_web::test]
async fn a_request_that_took_minutes_is_found() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"scopes": ["events:write"]})).await;
    let mut line = TcpStream::connect(app.base.trim_start_matches("http://")).await.unwrap();
    let secret = text(&key, "secret");
    let head = format!("POST /api/events HTTP/1.1\r\nhost: a\r\nx-api-key: {secret}\r\ncontent-length: 2\r\n\r\n{{");
    line.write_all(head.as_bytes()).await.unwrap();
    let taken = json!({"key": secret, "dry_run": true, "cost": 1000});
    while token.post_json("/api/keys/verification", taken.clone()).await.json()["code"] == "VALID" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.advance(TimeDelta::minutes(9));
    line.write_all(b"[").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(line.read_buf(&mut answer).await.unwrap(), 0);
    }
    let answer = String::from_utf8(answer).unwrap();
    let problem: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let request = text(&problem, "request_id");
    report(&app, &token, &key, request).await;
    assert_eq!(endpoints(&token, request).await, ["/api/events", "/reported"]);
}

#[actix_web::test]
async fn a_request_is_found_without_reading_the_other_records_of_its_day() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let asked = token.post_json("/api/keys/verification", json!({"key": key["secret"]})).await.json();
    let request = text(&asked, "request_id").to_owned();
    app.running().state.gate.flush().await;
    let day = format!("usage_logs_{}", app.clock.now().format("%Y%m%d"));
    // Adds records every four seconds, before and after the request.
    diesel::sql_query(format!(
        "INSERT INTO {day} SELECT 1000 + n, tenant_id, api_key_id, gen_random_uuid(), endpoint, method, status, outcome,
             reason, duration_us, cost, ip, $2::date + n * INTERVAL '4 s', FALSE
         FROM usage_logs CROSS JOIN generate_series(1, 21599) n WHERE request_id = $1"
    ))
    .bind::<Text, _>(&request)
    .bind::<Timestamptz, _>(app.clock.now())
    .execute(&mut app.conn())
    .unwrap();
    app.conn().batch_execute("ANALYZE usage_logs").unwrap();

    let filter = LogFilter { request: Some(request), ..LogFilter::default() };
    let scope = Scope::Tenant(app.tenant);
    let list = move |tx: &mut Tx<'_>| {
        let found = usage_logs::list(tx, scope, &filter, &Paging::default())?;
        Ok((found.len(), rows_read(tx, &[day.as_str()])))
    };
    let (found, read) = Db::new(&app.database.url, 1).read(scope, list).await.unwrap();
    assert_eq!(found, 1);
    assert!(read < 100, "read {read}");
}

#[actix_web::test]
async fn a_partition_dropped_while_the_server_runs_is_created_again() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    let day = format!("usage_logs_{}", app.clock.now().format("%Y%m%d"));
    app.conn().batch_execute(&format!("DROP TABLE {day}")).unwrap();
    holder.get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    let records = token.get("/api/usage/records").await.assert_ok().json();
    assert_eq!(records["data"].as_array().unwrap().len(), 1);
}

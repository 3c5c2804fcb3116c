//! Generated history of a demo: every total on a page or in the API equals the rows that it sums up.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::store::samples;
use serde_json::{Value, json};

use crate::support::{Person, TestApp};

/// Starts a tenant with three keys, two webhooks and a generated history, to which nothing is added.
async fn start_with_history() -> (TestApp, Person) {
    let app = TestApp::start().await;
    let program = app.program().await;
    for name in ["Storefront", "Scanner", "Report"] {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    for events in [json!(["*"]), json!(["order.*"])] {
        let ask = json!({"url": "http://127.0.0.1:9/hook", "events": events});
        program.post_json("/api/webhooks", ask).await.assert_status(201);
    }
    app.conn().transaction(|conn| samples::insert_past(conn, app.tenant, app.clock.now())).unwrap();
    (app, program)
}

/// Returns all rows of a list in the API.
async fn rows(who: &Person, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = who.get(format!("{path}{separator}limit=100{cursor}")).await.assert_ok().json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn time(row: &Value, field: &str) -> DateTime<Utc> {
    row[field].as_str().unwrap_or_else(|| panic!("{field} in {row}")).parse().unwrap()
}

/// Returns the number of rows of a table that meet a condition.
fn count(app: &TestApp, from: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let query = format!("SELECT count(*) AS count FROM {from}");
    diesel::sql_query(query).get_result::<Count>(&mut app.conn()).unwrap().count
}

fn length(rows: &[Value]) -> i64 {
    i64::try_from(rows.len()).unwrap()
}

#[actix_web::test]
async fn usage_of_every_key_equals_its_records() {
    let (app, program) = start_with_history().await;
    let day = |ago: i64| (app.clock.now() - TimeDelta::days(ago)).format("%Y-%m-%dT%H:%M:00Z").to_string();
    let span = format!("since={}&until={}", day(1), day(0));
    let mut all = 0;
    for key in rows(&program, "/api/keys").await {
        let id = &key["id"];
        let records = rows(&program, &format!("/api/usage/records?key_id={id}&{span}")).await;
        let usage = program.get(format!("/api/keys/{id}/usage?{span}&bucket=minute")).await.assert_ok().json();
        assert!(100 < records.len(), "{key}");
        assert_eq!(usage["total"], length(&records));
        assert_eq!(time(&key, "last_used_at"), time(&records[0], "at"), "{key}");
        all += count(&app, &format!("usage_logs WHERE api_key_id = {id}"));
    }
    let whole = format!("since={}&until={}&group_by=outcome", day(7), day(0));
    let usage = program.get(format!("/api/usage?{whole}&bucket=hour")).await.assert_ok().json();
    assert_eq!(usage["total"], all);
    for group in usage["groups"].as_array().unwrap() {
        let records = format!("usage_logs WHERE outcome = '{}'", group["group"].as_str().unwrap());
        assert_eq!(group["total"], count(&app, &records), "{group}");
    }
}

#[actix_web::test]
async fn totals_of_minutes_hours_and_latency_agree() {
    let (app, _) = start_with_history().await;
    let records = count(&app, "usage_logs");
    for (table, what) in [("usage_minutes", "total"), ("usage_hours", "total"), ("usage_latencies", "total")] {
        for keys in ["= 0", "<> 0"] {
            let sum = format!("(SELECT generate_series(1, sum({what})) FROM {table} WHERE api_key_id {keys}) one");
            assert_eq!(count(&app, &sum), records, "{table}, keys {keys}");
        }
    }
}

#[actix_web::test]
async fn totals_of_every_webhook_equal_its_deliveries() {
    let (app, program) = start_with_history().await;
    let ada = app.admin("ada").await;
    for webhook in rows(&program, "/api/webhooks").await {
        let id = &webhook["id"];
        let deliveries = rows(&program, &format!("/api/deliveries?webhook_id={id}")).await;
        let delivered: Vec<_> = deliveries.iter().filter(|one| one["state"] == "delivered").cloned().collect();
        assert!(100 < delivered.len());
        let newest = delivered.iter().map(|one| time(one, "delivered_at")).max().unwrap();
        assert_eq!(time(&webhook, "last_success_at"), newest);

        let statistics = program.get(format!("/api/webhooks/{id}/statistics")).await.assert_ok().json();
        for hour in statistics["hours"].as_array().unwrap() {
            let begins = time(hour, "at");
            let within = |one: &&Value| (begins..begins + TimeDelta::hours(1)).contains(&time(one, "delivered_at"));
            assert_eq!(
                hour["delivered"],
                length(&delivered.iter().filter(within).cloned().collect::<Vec<_>>()),
                "{hour}"
            );
        }
        let since = "date_trunc('hour', now()) - interval '6 days'";
        for state in ["delivered", "failed"] {
            let sum = format!(
                "(SELECT generate_series(1, sum({state})) FROM delivery_hours
                WHERE webhook_id = {id} AND hour >= {since}) one"
            );
            let own = format!("deliveries WHERE webhook_id = {id} AND state = '{state}'");
            assert_eq!(count(&app, &sum), count(&app, &own), "{state}");
        }
        let page = ada.visit(format!("/webhooks/{id}")).await.assert_ok().html().all_text();
        assert!(!page.contains("Last success Never"), "{page}");
    }
    let sum = "(SELECT generate_series(1, sum(attempts)) FROM delivery_hours WHERE webhook_id <> 0) one";
    assert_eq!(count(&app, sum), count(&app, "attempts"));
    let sum = "(SELECT generate_series(1, sum(successes)) FROM delivery_minutes WHERE webhook_id = 0) one";
    assert_eq!(count(&app, sum), count(&app, "attempts WHERE success"));
}

#[actix_web::test]
async fn the_list_of_failed_deliveries_is_complete() {
    let (app, program) = start_with_history().await;
    let failed = rows(&program, "/api/deliveries?state=failed").await;
    assert_eq!(length(&failed), count(&app, "deliveries WHERE state = 'failed'"));
    assert!(!failed.is_empty());
    for delivery in &failed {
        assert_eq!((&delivery["attempts_made"], &delivery["last_error"]), (&json!(10), &json!("answered 503")));
    }
    let attempts = rows(&program, "/api/webhook-logs?success=false").await;
    assert_eq!(length(&attempts), count(&app, "attempts WHERE NOT success"));
    let ada = app.admin("ada").await;
    let page = ada.visit("/deliveries?state=failed").await.assert_ok().html();
    assert_eq!(page.select("tbody tr").len(), failed.len().min(50));
}

#[actix_web::test]
async fn a_busy_key_is_not_shown_as_never_used() {
    let (app, _) = start_with_history().await;
    let ada = app.admin("ada").await;
    let page = ada.visit("/keys").await.assert_ok().html();
    let rows = page.texts("tbody tr");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.contains(" min ago ")), "{rows:?}");
    let overview = ada.visit("/").await.assert_ok().html().all_text();
    assert!(!overview.contains("never used"), "{overview}");
}

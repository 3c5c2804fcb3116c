//! Usage of keys: records, buckets, percentiles, and the time of the last use.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use gatepost::domain::Role;
use gatepost::model::usage_log::usage_logs;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::TestApp;
use crate::support::people::Person;

#[actix_web::test]
async fn every_request_with_a_key_is_counted() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 3})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get("/protected/").await.assert_ok();
    holder.get("/api/data").await.assert_ok();
    holder.get("/api/data?limit=0").await.assert_invalid("limit");
    holder.get("/api/data").await.assert_problem(429, "rate_limited");

    let usage = token.get(path(&key, "/usage")).await.assert_ok().json();

    assert_eq!((&usage["key_id"], &usage["total"], &usage["remaining"]), (&key["id"], &json!(4), &json!(0)));
    assert_eq!(usage["bucket"], "hour");
    assert_eq!(
        usage["by_endpoint"],
        json!([{"endpoint": "/api/data", "total": 3}, {"endpoint": "/protected/", "total": 1}])
    );
    assert_eq!(usage["by_status"], json!({"200": 2, "422": 1, "429": 1}));
    let buckets = usage["buckets"].as_array().unwrap();
    let sum =
        |outcome: &str| buckets.iter().map(|bucket| bucket["by_outcome"][outcome].as_i64().unwrap_or(0)).sum::<i64>();
    assert_eq!((sum("VALID"), sum("RATE_LIMITED")), (3, 1));
    assert!(usage["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert!(usage["latency_ms"]["p99"].as_f64().unwrap() >= usage["latency_ms"]["p50"].as_f64().unwrap());
}

#[actix_web::test]
async fn a_record_has_endpoint_method_status_time_and_address() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    let row: (String, String, i16, i64, Option<String>, String) = usage_logs::table
        .select((
            usage_logs::endpoint,
            usage_logs::method,
            usage_logs::status,
            usage_logs::duration_us,
            usage_logs::ip,
            usage_logs::outcome,
        ))
        .first(&mut app.conn())
        .unwrap();
    assert_eq!((row.0.as_str(), row.1.as_str(), row.2), ("/protected/", "GET", 200));
    assert!(row.3 > 0);
    assert_eq!((row.4.as_deref(), row.5.as_str()), (Some("127.0.0.1"), "VALID"));
}

#[actix_web::test]
async fn the_last_use_is_recorded_and_never_goes_back() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let last_used = |key: &Value| key["last_used_at"].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap());
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    let first = last_used(&token.get(path(&key, "")).await.json()).unwrap();
    assert!((app.clock.now() - first).num_seconds() < 60);
    app.advance(TimeDelta::hours(-1));
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    token.post_json(path(&key, "/deactivation"), json!({})).await.assert_ok();
    app.key(text(&key, "secret")).get("/protected/").await.assert_problem(401, "api_key_disabled");
    app.running().state.gate.flush().await;
    assert_eq!(last_used(&token.get(path(&key, "")).await.json()), Some(first));
}

#[actix_web::test]
async fn usage_of_a_time_span_is_returned_in_buckets() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    app.advance(TimeDelta::hours(2));
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    let total = |answer: &Value| answer["total"].clone();
    let by = |query: String| {
        let (token, place) = (token.clone(), path(&key, &format!("/usage?{query}")));
        async move { token.get(place).await }
    };
    let recent = (app.clock.now() - TimeDelta::hours(1)).to_rfc3339().replace("+00:00", "Z");
    assert_eq!(total(&by(format!("since={recent}")).await.assert_ok().json()), 1);
    let days = by("bucket=day".into()).await.assert_ok().json();
    assert_eq!((total(&days), &days["bucket"]), (json!(2), &json!("day")));
    by("bucket=year".into()).await.assert_invalid("bucket");
    by("since=yesterday".into()).await.assert_invalid("since");
    by("since=2020-01-01T00:00:00Z&bucket=minute".into()).await.assert_invalid("bucket");
    by("until=2020-01-01T00:00:00Z&since=2021-01-01T00:00:00Z".into()).await.assert_invalid("since");
}

#[actix_web::test]
async fn a_tenant_s_usage_is_the_sum_of_its_keys() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    for _ in 0..2 {
        let key = mint(&token, json!({})).await;
        app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    }
    assert_eq!(token.get("/api/usage").await.assert_ok().json()["total"], 2);
    let ada = app.developer("dan").await;
    app.token_of(&ada, &["keys:read"]).get("/api/usage").await.assert_problem(403, "forbidden");
    let olga = app.operator("olga").await;
    assert_eq!(
        app.instance_token_of(&olga, &["usage:read"]).get("/api/usage?tenant=acme").await.assert_ok().json()["total"],
        2
    );
}

#[actix_web::test]
async fn a_graceful_stop_loses_no_record() {
    let mut app = TestApp::start_with(&[("GATEPOST_USAGE_FLUSH_MS", "10000")]).await;
    let key = mint(&admin(&app).await, json!({})).await;
    for _ in 0..10 {
        app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    }
    app.stop().await;
    let count: i64 = usage_logs::table.count().get_result(&mut app.conn()).unwrap();
    assert_eq!(count, 10);
}

/// Returns the response's groups: name, total and valid calls.
fn groups(answer: &Value) -> Vec<(String, i64, i64)> {
    let groups = answer["groups"].as_array().unwrap().iter();
    groups
        .map(|one| (text(one, "label").into(), one["total"].as_i64().unwrap(), one["valid"].as_i64().unwrap()))
        .collect()
}

#[actix_web::test]
async fn an_application_can_report_the_calls_that_it_served() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"name": "Reporter", "owner": "cust_1", "scopes": ["usage:write"]})).await;
    let hour_ago = (app.clock.now() - TimeDelta::hours(1)).to_rfc3339();
    let records = json!([
        {"key_id": key["id"], "endpoint": "/orders", "method": "get", "status": 200, "duration_ms": 12.5},
        {"key": key["key"], "endpoint": "/orders", "status": 503, "duration_ms": 900, "at": hour_ago, "request_id": "r-1"},
    ]);

    let answer = token.post_json("/api/usage", json!({"records": records})).await.assert_status(202).json();
    assert_eq!(answer, json!({"recorded": 2}));
    let holder = app.key(text(&key, "secret"));
    holder.post_json("/api/usage", json!({"records": [{"endpoint": "/stock"}]})).await.assert_status(202);

    let usage = token.get("/api/usage?group_by=endpoint").await.assert_ok().json();
    let named = |name: &str, total, valid| (name.to_owned(), total, valid);
    // The report with the key is itself one of the calls.
    assert_eq!(usage["groups_are_capped"], false);
    assert_eq!(groups(&usage), [named("/orders", 2, 2), named("/api/usage", 1, 1), named("/stock", 1, 1)]);
    let by = |by: &str| token.get(format!("/api/usage?group_by={by}"));
    assert_eq!(groups(&by("key").await.json()), [named("Reporter", 4, 4)]);
    assert_eq!(groups(&by("owner").await.json()), [named("cust_1", 4, 4)]);
    assert_eq!(groups(&by("status_class").await.json()), [named("2xx", 3, 3), named("5xx", 1, 1)]);
    assert!(token.get(path(&key, "")).await.json()["last_used_at"].is_string());
    let found = token.get("/api/usage/records?request_id=r-1").await.assert_ok().json();
    assert_eq!((found["data"].as_array().unwrap().len(), &found["data"][0]["duration_ms"]), (1, &json!(900.0)));
}

#[actix_web::test]
async fn an_invalid_report_is_refused_completely_and_names_the_field() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let beta = app.make_tenant("beta");
    let bert = app.make_user("bert", false);
    app.make_member(beta, bert, Role::Admin);
    let theirs = Person::with_token(&app.base, &app.mint_token(bert, Some(beta), &["*"]));
    let others = mint(&theirs, json!({})).await;
    let report = |records: Value| token.post_json("/api/usage", json!({"records": records}));

    report(json!([])).await.assert_invalid("records");
    report(json!([{"key_id": key["id"]}, {"key_id": key["id"], "status": 99}]))
        .await
        .assert_invalid("records[1].status");
    report(json!([{"key_id": key["id"]}, {"key_id": others["id"]}])).await.assert_invalid("records[1].key_id");
    report(json!([{"key": others["key"]}])).await.assert_invalid("records[0].key");
    report(json!([{}])).await.assert_invalid("records[0].key_id");
    let old = (app.clock.now() - TimeDelta::days(9)).to_rfc3339();
    report(json!([{"key_id": key["id"], "at": old}])).await.assert_invalid("records[0].at");
    let many: Vec<_> = (0..10_001).map(|_| json!({"key_id": key["id"]})).collect();
    report(json!(many)).await.assert_invalid("records");

    assert_eq!(token.get("/api/usage").await.json()["total"], 0);
    report(json!(many[..10_000])).await.assert_status(202);
    assert_eq!(token.get("/api/usage").await.json()["total"], 10_000);
}

#[actix_web::test]
async fn each_refused_call_is_found_by_its_request_id_with_its_reason() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"rate_limit": 1, "rate_window_seconds": 60})).await;
    let holder = app.key(text(&key, "secret"));
    holder.get("/protected/").await.assert_ok();
    let refused = holder.get("/protected/").await.assert_problem(429, "rate_limited");
    let verified =
        token.post_json("/api/keys/verification", json!({"key": key["secret"], "scopes": ["a:b"]})).await.json();

    let why = |request: &str| token.get(format!("/api/usage/records?request_id={request}"));
    let limited = why(text(&refused, "request_id")).await.assert_ok().json();
    assert_eq!(limited["data"][0]["reason"], "limit at 2/1 in 60 s");
    let scoped = why(text(&verified, "request_id")).await.json();
    assert_eq!(
        (&scoped["data"][0]["outcome"], &scoped["data"][0]["reason"]),
        (&json!("INSUFFICIENT_SCOPE"), &json!("missing scopes: a:b"))
    );
    let both = token.get("/api/usage/records?refused=true").await.json();
    assert_eq!(both["data"].as_array().unwrap().len(), 2);
    let one = token.get("/api/usage/records?refused=true&limit=1").await.json();
    let next =
        token.get(format!("/api/usage/records?refused=true&limit=1&cursor={}", text(&one, "next_cursor"))).await.json();
    assert_eq!((&next["data"][0]["outcome"], &next["next_cursor"]), (&json!("RATE_LIMITED"), &Value::Null));
}

#[actix_web::test]
async fn usage_can_be_downloaded_as_csv() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({"name": "=1+1", "scopes": []})).await;
    app.key(text(&key, "secret")).get("/protected/").await.assert_ok();
    let by_key = token.get("/api/usage?group_by=key&format=csv").await;
    assert_eq!(by_key.body, format!("key,label,total,valid,refused\r\n{},\"'=1+1\",1,1,0\r\n", key["id"]));
    let buckets = token.get("/api/usage?format=csv").await;
    assert!(buckets.header("content-type").starts_with("text/csv"));
    assert_eq!(buckets.body.lines().count(), 2);
    token.get("/api/usage?format=xml").await.assert_invalid("format");
}

#[actix_web::test]
async fn a_long_span_is_summed_from_hours_with_latency_from_the_histogram() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let at = |hours| (app.clock.now() - TimeDelta::hours(hours)).to_rfc3339();
    let record = |hours, millis| json!({"key_id": key["id"], "duration_ms": millis, "at": at(hours)});
    let records: Vec<_> = (0..100).map(|n| record(5 + n % 90, if n < 90 { 10.0 } else { 1000.0 })).collect();
    token.post_json("/api/usage", json!({"records": records})).await.assert_status(202);

    let since = (app.clock.now() - TimeDelta::days(6)).to_rfc3339().replace("+00:00", "Z");
    let week = token.get(format!("/api/usage?bucket=day&since={since}")).await.assert_ok().json();

    assert_eq!(week["total"], 100);
    let millis = |name: &str| week["latency_ms"][name].as_f64().unwrap();
    assert!((8.0..12.5).contains(&millis("p50")), "{}", millis("p50"));
    assert!((800.0..1200.0).contains(&millis("p99")), "{}", millis("p99"));
}

#[actix_web::test]
async fn a_repeated_report_is_counted_once() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let report = |count: usize| json!({"records": vec![json!({"key_id": key["id"], "endpoint": "/orders"}); count]});
    let once = token.with("idempotency-key", "report-of-noon");
    let first = once.post_json("/api/usage", report(3)).await;
    assert_eq!((first.assert_status(202).json(), first.header("idempotent-replayed")), (json!({"recorded": 3}), ""));
    let again = once.post_json("/api/usage", report(3)).await;
    assert_eq!(again.assert_status(202).json(), json!({"recorded": 3}));
    assert_eq!(again.header("idempotent-replayed"), "true");
    once.post_json("/api/usage", report(2)).await.assert_problem(422, "idempotency_mismatch");
    assert_eq!(token.get(path(&key, "/usage")).await.assert_ok().json()["total"], 3);
    token.with("idempotency-key", "").post_json("/api/usage", report(1)).await.assert_invalid("Idempotency-Key");

    // A refused report does not use up its idempotency key.
    let later = token.with("idempotency-key", "later");
    later.post_json("/api/usage", json!({"records": [{"key_id": 4_611_686}]})).await.assert_status(422);
    later.post_json("/api/usage", report(1)).await.assert_status(202);
    assert_eq!(token.get(path(&key, "/usage")).await.assert_ok().json()["total"], 4);
    let answers = futures_util::future::join_all((0..6).map(|_| {
        let racer = token.with("idempotency-key", "race");
        let report = report(1);
        async move { racer.post_json("/api/usage", report).await.status }
    }));
    assert!(answers.await.iter().all(|status| [202, 409].contains(status)));
    assert_eq!(token.get(path(&key, "/usage")).await.assert_ok().json()["total"], 5);
}

#[actix_web::test]
async fn a_key_can_report_only_for_its_own_lineage() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let other = mint(&token, json!({})).await;
    let key = mint(&token, json!({"scopes": ["usage:write"]})).await;
    let rotated =
        token.post_json(format!("/api/keys/{}/rotation", key["id"]), json!({})).await.assert_status(201).json();
    let holder = app.key(text(&rotated, "secret"));
    let report = |record: Value| holder.post_json("/api/usage", json!({"records": [record]}));
    for own in [json!({}), json!({"key_id": key["id"]}), json!({"key": rotated["key"]})] {
        report(own).await.assert_status(202);
    }
    let refused = report(json!({"key_id": other["id"]})).await.assert_invalid("records[0].key_id");
    let unknown = report(json!({"key_id": 4_611_686})).await.assert_invalid("records[0].key_id");
    assert_eq!(refused["errors"], unknown["errors"], "whether there is such a key is not told");
    report(json!({"key": other["key"]})).await.assert_invalid("records[0].key");
    app.running().state.gate.flush().await;
    let seen = token.get(format!("/api/keys/{}", other["id"])).await.assert_ok().json();
    assert_eq!(seen["last_used_at"], Value::Null);
    let all = json!({"records": [{"key_id": other["id"]}, {"key_id": key["id"]}]});
    token.post_json("/api/usage", all).await.assert_status(202);
}

async fn report(token: &Person, key: &Value, records: impl Iterator<Item = Value>) {
    let named = |mut record: Value| {
        record["key_id"] = key["id"].clone();
        record
    };
    let records: Vec<Value> = records.map(named).collect();
    token.post_json("/api/usage", json!({"records": records})).await.assert_status(202);
}

#[actix_web::test]
async fn percentiles_of_more_than_ten_thousand_requests_are_marked_as_a_sample() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let key = mint(&token, json!({})).await;
    let hour_ago = (app.clock.now() - TimeDelta::hours(1)).to_rfc3339();
    let since = (app.clock.now() - TimeDelta::hours(2)).to_rfc3339().replace('+', "%2B");
    report(&token, &key, std::iter::once(json!({"endpoint": "/a", "duration_ms": 50_000, "at": hour_ago}))).await;
    report(&token, &key, (0..9_999).map(|_| json!({"endpoint": "/a", "duration_ms": 1}))).await;
    let read = async || token.get(format!("/api/usage?since={since}")).await.assert_ok().json();
    assert_eq!(read().await["latency_is_sampled"], false);
    assert!(ada.visit("/usage?range=1h").await.assert_ok().html().texts(".stat-note").is_empty());

    report(&token, &key, (0..2).map(|_| json!({"endpoint": "/a", "duration_ms": 1}))).await;
    let usage = read().await;
    assert_eq!((&usage["latency_is_sampled"], &usage["total"]), (&json!(true), &json!(10_002)));
    let page = ada.visit("/usage?range=1h").await.assert_ok().html();
    assert_eq!(page.texts(".stat-note"), ["newest 10,000 calls"; 3]);
    let of_key = token.get(path(&key, &format!("/usage?since={since}"))).await.assert_ok().json();
    assert_eq!(of_key["latency_is_sampled"], true);
    let of_day = token.get("/api/usage").await.assert_ok().json();
    assert_eq!(of_day["latency_is_sampled"], false, "estimated from totals of all requests");
}

#[actix_web::test]
async fn the_endpoints_of_a_report_say_when_there_are_more() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let key = mint(&token, json!({})).await;
    let read = async || {
        let usage = token.get("/api/usage").await.assert_ok().json();
        (usage["by_endpoint"].as_array().unwrap().len(), usage["by_endpoint_is_capped"].clone())
    };
    report(&token, &key, (0..50).map(|number| json!({"endpoint": format!("/{number}")}))).await;
    assert_eq!(read().await, (50, json!(false)));
    report(&token, &key, std::iter::once(json!({"endpoint": "/one-more"}))).await;
    assert_eq!(read().await, (50, json!(true)));
}

#[actix_web::test]
async fn groups_say_when_there_are_more() {
    let app = TestApp::start().await;
    let token = admin(&app).await;
    let used_by = |keys: std::ops::RangeInclusive<i64>| {
        let sql = format!(
            "INSERT INTO usage_hours (tenant_id, api_key_id, hour, endpoint, outcome, status, total, cost)
             SELECT {}, 1000000 + n, date_trunc('hour', now()) - interval '2 hours', '/a', 'VALID', 200, 1, 1
             FROM generate_series({}, {}) n",
            app.tenant,
            keys.start(),
            keys.end()
        );
        diesel::sql_query(sql).execute(&mut app.conn()).unwrap();
    };
    let read = async || {
        let usage = token.get("/api/usage?group_by=key").await.assert_ok().json();
        (usage["groups"].as_array().unwrap().len(), usage["groups_are_capped"].clone())
    };
    let hours_ago = (app.clock.now() - TimeDelta::hours(2)).to_rfc3339();
    let key = mint(&token, json!({})).await;
    report(&token, &key, std::iter::once(json!({"endpoint": "/a", "at": hours_ago}))).await;
    used_by(1..=999);
    assert_eq!(read().await, (1_000, json!(false)));
    used_by(1_000..=1_000);
    assert_eq!(read().await, (1_000, json!(true)));
}

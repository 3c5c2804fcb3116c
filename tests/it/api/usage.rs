//! What keys were used for: records, buckets, percentiles, and when a key was last used.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use gatepost::schema::usage_logs;
use serde_json::{Value, json};

use super::{admin, mint, path, text};
use crate::support::TestApp;

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
async fn a_record_tells_endpoint_method_status_time_and_address() {
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
async fn the_last_use_is_kept_and_never_goes_back() {
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
async fn a_span_is_asked_for_in_steps() {
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

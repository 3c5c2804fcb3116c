//! Outages of Redis: it stops, hangs, is full, or restarts empty.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Pair, ask, limited, valid};
use crate::support::{Person, Redis, TestApp};

const CLOSED: (&str, &str) = ("GATEPOST_REDIS_OUTAGE", "fail_closed");

/// Waits until `/readyz` reports this state of Redis.
async fn until_redis_is(state: &str, person: &Person) {
    let start = Instant::now();
    loop {
        let said = person.get("/readyz").await;
        if said.status == 200 && said.json()["redis"] == state {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{}", said.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[actix_web::test]
async fn during_an_outage_each_process_continues_its_counts_and_later_sends_them_to_redis() {
    let mut pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 10})).await;
    assert_eq!(ask(&pair.here, &key, json!({"cost": 2})).await, valid(8));
    assert_eq!(ask(&pair.there, &key, json!({"cost": 2})).await, valid(6));

    pair.redis.kill();
    assert_eq!(ask(&pair.there, &key, json!({"cost": 5})).await, valid(1), "it has heard of all four");
    assert_eq!(ask(&pair.there, &key, json!({"cost": 2})).await, limited(1));
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(7), "it has heard of the first two");
    until_redis_is("away", &pair.here).await;

    pair.redis.restart();
    until_redis_is("up", &pair.here).await;
    until_redis_is("up", &pair.there).await;
    assert_eq!(ask(&pair.there, &key, json!({"dry_run": true})).await, valid(1));
    assert_eq!(ask(&pair.here, &key, json!({"dry_run": true})).await, valid(1), "of each the higher count");
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(0));
    assert_eq!(ask(&pair.there, &key, json!({})).await, limited(0));
    pair.other.stop().await;
}

#[actix_web::test]
async fn a_process_started_without_redis_counts_alone_and_joins_later() {
    let mut redis = Redis::start();
    redis.kill();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url)]).await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "ci", "rate_limit": 3})).await.json();
    assert_eq!(ask(&program, &key, json!({})).await, valid(2));
    redis.restart();
    until_redis_is("up", &program).await;
    assert_eq!(ask(&program, &key, json!({})).await, valid(1), "what was counted before is taken along");
    assert_eq!(redis.contents().iter().filter(|line| line.contains(":limit:")).count(), 1);
}

#[actix_web::test]
async fn with_fail_closed_calls_are_refused_while_redis_is_unreachable() {
    let mut redis = Redis::start();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url), CLOSED]).await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "ci"})).await.json();
    let holder = app.key(key["secret"].as_str().unwrap());
    holder.get("/protected/").await.assert_ok();
    app.stranger().get("/readyz").await.assert_ok();

    redis.kill();
    let refused = holder.get("/protected/").await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "2");
    let body = json!({"key": key["secret"]});
    program.post_json("/api/keys/verification", body).await.assert_problem(503, "unavailable");
    app.stranger().get("/auth").await.assert_status(401);
    holder.get("/auth").await.assert_status(503);
    app.stranger().get("/readyz").await.assert_problem(503, "unavailable");
    app.stranger().get("/healthz").await.assert_ok();
    let metrics = app.stranger().get("/metrics").await.assert_ok().body.clone();
    for line in ["gatepost_shared_limits_up 0", "gatepost_shared_limits_missed_total "] {
        assert!(metrics.lines().any(|known| known.starts_with(line)), "{line} in {metrics}");
    }
    // Reading a key's usage is not a call with the key.
    program.get(format!("/api/keys/{}/usage", key["id"])).await.assert_ok();

    redis.restart();
    until_redis_is("up", &program).await;
    holder.get("/protected/").await.assert_ok();
    app.stranger().get("/readyz").await.assert_ok();
}

#[actix_web::test]
async fn only_one_call_waits_for_a_redis_that_hangs() {
    let redis = Redis::start();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url), ("GATEPOST_REDIS_TIMEOUT_MS", "1000")]).await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "ci"})).await.json();
    assert_eq!(ask(&program, &key, json!({})).await, valid(999));

    redis.hang();
    for left in [998, 997, 996] {
        assert_eq!(ask(&program, &key, json!({})).await, valid(left));
    }
    until_redis_is("away", &program).await;
    redis.go_on();
    until_redis_is("up", &program).await;
    let (code, left) = ask(&program, &key, json!({})).await;
    // Redis may have counted the waiting call too.
    assert!(code == "VALID" && (994..=995).contains(&left), "{left}");
}

#[actix_web::test]
async fn an_outage_of_redis_is_noticed_without_any_calls() {
    let mut redis = Redis::start();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url)]).await;
    until_redis_is("up", &app.stranger()).await;
    redis.kill();
    until_redis_is("away", &app.stranger()).await;
}

#[actix_web::test]
async fn a_redis_that_refuses_writes_counts_as_unreachable() {
    let redis = Redis::start();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url)]).await;
    let program = app.program().await;
    let key = program.post_json("/api/keys", json!({"name": "ci"})).await.json();
    redis.configure("maxmemory", "1");
    for left in [999, 998] {
        assert_eq!(ask(&program, &key, json!({})).await, valid(left));
    }
    until_redis_is("away", &program).await;
    redis.configure("maxmemory", "0");
    until_redis_is("up", &program).await;
    assert_eq!(ask(&program, &key, json!({})).await, valid(997));
}

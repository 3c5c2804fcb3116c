//! Limits that several processes count together in Redis.

mod outages;
mod windows;

use gatepost::app::{App, Running};
use gatepost::gate::{Credential, VerificationRequest};
use serde_json::{Value, json};

use crate::support::{Person, Redis, TestApp, settings};

/// Two processes on one database that count in one Redis.
struct Pair {
    redis: Redis,
    app: TestApp,
    other: Running,
    /// Clients of the two processes, with the same token.
    here: Person,
    there: Person,
}

impl Pair {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(extra: &[(&str, &str)]) -> Self {
        let redis = Redis::start();
        let url = redis.url.clone();
        let extra: Vec<_> = extra.iter().copied().chain([("REDIS_URL", url.as_str())]).collect();
        let app = TestApp::start_with(&extra).await;
        let other = App::start(settings::for_test(&app.database.url, &extra), app.clock.clone()).await.unwrap();
        let here = app.program().await;
        let there = Person { base: other.base(), ..here.clone() };
        Self { redis, app, other, here, there }
    }

    async fn mint(&self, extra: Value) -> Value {
        let mut body = json!({"name": "ci"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.here.post_json("/api/keys", body).await.assert_status(201).json()
    }
}

async fn verify(program: &Person, key: &Value, extra: Value) -> Value {
    let mut body = json!({"key": key["secret"]});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    program.post_json("/api/keys/verification", body).await.assert_ok().json()
}

/// Verifies the key. Returns the outcome and the remaining amount of the first limit.
async fn ask(program: &Person, key: &Value, extra: Value) -> (String, i64) {
    let answer = verify(program, key, extra).await;
    (answer["code"].as_str().unwrap().to_owned(), answer["rate_limits"][0]["remaining"].as_i64().unwrap())
}

fn valid(remaining: i64) -> (String, i64) {
    ("VALID".to_owned(), remaining)
}

fn limited(remaining: i64) -> (String, i64) {
    ("RATE_LIMITED".to_owned(), remaining)
}

#[actix_web::test]
async fn two_processes_together_allow_no_more_calls_than_one() {
    let pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 5})).await;

    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(4));
    assert_eq!(ask(&pair.there, &key, json!({"cost": 2})).await, valid(2));
    assert_eq!(ask(&pair.here, &key, json!({"cost": 3})).await, limited(2), "all of it or nothing");
    assert_eq!(ask(&pair.there, &key, json!({"dry_run": true, "cost": 2})).await, valid(2), "only a look");
    assert_eq!(ask(&pair.here, &key, json!({"cost": 2})).await, valid(0));
    assert_eq!(ask(&pair.there, &key, json!({})).await, limited(0));

    let holder = Person::stranger(&pair.there.base).with("x-api-key", key["secret"].as_str().unwrap());
    let refused = holder.get("/protected/").await;
    refused.assert_problem(429, "rate_limited");
    assert_eq!((refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")), ("5", "0"));
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((3_600..=3_660).contains(&wait), "{wait}");
    let usage = pair.there.get(format!("/api/keys/{}/usage", key["id"])).await.json();
    assert_eq!(usage["remaining"], 0, "{usage}");

    pair.app.advance(chrono::TimeDelta::seconds(3_661));
    assert_eq!(ask(&pair.there, &key, json!({})).await, valid(4));
    pair.other.stop().await;
}

#[actix_web::test]
async fn several_limits_are_counted_together_and_an_owner_s_by_all_keys_and_processes() {
    let pair = Pair::start().await;
    let limits = json!([
        {"name": "burst", "limit": 3, "window_seconds": 60},
        {"name": "team", "limit": 4, "window_seconds": 3600, "per": "owner"},
    ]);
    let mine = json!({"owner": "cust_1", "limits": limits});
    let (one, two) = (pair.mint(mine.clone()).await, pair.mint(mine).await);
    let left = |answer: Value| {
        let limits = answer["rate_limits"].as_array().unwrap().clone();
        let of = |at: usize| limits[at]["remaining"].as_i64().unwrap();
        (answer["code"].as_str().unwrap().to_owned(), [of(0), of(1), of(2)])
    };
    let allowed = |left| ("VALID".to_owned(), left);
    let refused = |left| ("RATE_LIMITED".to_owned(), left);

    assert_eq!(left(verify(&pair.here, &one, json!({"cost": 2})).await), allowed([998, 1, 2]));
    assert_eq!(left(verify(&pair.there, &two, json!({})).await), allowed([999, 2, 1]));
    assert_eq!(left(verify(&pair.there, &one, json!({"cost": 2})).await), refused([998, 1, 1]), "nothing is taken");
    assert_eq!(left(verify(&pair.there, &one, json!({})).await), allowed([997, 0, 0]));
    assert_eq!(left(verify(&pair.here, &two, json!({})).await), refused([999, 2, 0]));
    pair.other.stop().await;
}

#[actix_web::test]
async fn racing_calls_at_two_processes_use_a_limit_exactly() {
    let pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 50})).await;
    let gates = [&pair.app.running().state.gate, &pair.other.state.gate];
    let races = (0..200).map(|n: usize| {
        let (gate, secret) = (gates[n % 2].clone(), key["secret"].as_str().unwrap().to_owned());
        tokio::spawn(async move {
            gate.decide(&VerificationRequest::new(Credential::secret(&secret), None)).await.unwrap().is_valid()
        })
    });
    let won = futures_util::future::join_all(races).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 50);
    pair.other.stop().await;
}

#[actix_web::test]
async fn a_call_refused_by_quota_or_limit_counts_against_neither() {
    let pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 3, "quota": {"limit": 2}})).await;
    assert_eq!(ask(&pair.here, &key, json!({"cost": 2})).await, valid(1));
    assert_eq!(verify(&pair.there, &key, json!({})).await["code"], "QUOTA_EXCEEDED");
    // Both refuse this one. The quota decides, since waiting for the limit does not help.
    assert_eq!(ask(&pair.there, &key, json!({"dry_run": true, "cost": 2})).await, ("QUOTA_EXCEEDED".to_owned(), 1));
    let held = verify(&pair.there, &key, json!({"dry_run": true})).await;
    assert_eq!((&held["code"], &held["rate_limits"][0]["remaining"]), (&json!("QUOTA_EXCEEDED"), &json!(1)));
    pair.other.stop().await;
}

#[actix_web::test]
async fn a_quota_gets_back_a_call_that_a_shared_limit_refuses() {
    let pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 2, "quota": {"limit": 10}})).await;
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(1));
    assert_eq!(ask(&pair.there, &key, json!({})).await, valid(0));
    assert_eq!(ask(&pair.here, &key, json!({})).await, limited(0), "it knew of one that was left");
    pair.app.advance(chrono::TimeDelta::seconds(3_661));
    let taken = verify(&pair.here, &key, json!({})).await;
    assert_eq!((&taken["code"], &taken["quota"]["remaining"]), (&json!("VALID"), &json!(7)), "{taken}");
    pair.other.stop().await;
}

#[actix_web::test]
async fn each_call_uses_redis_once_with_or_without_a_quota() {
    let redis = Redis::start();
    let app = TestApp::start_with(&[("REDIS_URL", &redis.url)]).await;
    let program = app.program().await;
    for body in [json!({"name": "plain"}), json!({"name": "held", "quota": {"limit": 1_000}})] {
        let key = program.post_json("/api/keys", body).await.assert_status(201).json();
        let before = redis.scripts_run();
        for _ in 0..50 {
            assert_eq!(verify(&program, &key, json!({})).await["code"], "VALID");
        }
        // In addition, Redis is checked from time to time.
        let asked = redis.scripts_run() - before;
        assert!((50..=70).contains(&asked), "{asked} for {key}");
    }
}

#[actix_web::test]
async fn a_new_limit_includes_the_calls_counted_under_the_old_one() {
    let pair = Pair::start().await;
    let key = pair.mint(json!({"rate_limit": 10})).await;
    assert_eq!(ask(&pair.here, &key, json!({"cost": 6})).await, valid(4));
    let narrower = json!({"rate_limit": 8, "rate_window_seconds": 60});
    pair.here.patch_json(format!("/api/keys/{}", key["id"]), narrower).await.assert_ok();
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(1));
    // Calls in a sub-window of a minute count as if they came at its end.
    pair.app.advance(chrono::TimeDelta::seconds(121));
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(7));
    pair.other.stop().await;
}

#[actix_web::test]
async fn redis_contains_numbers_and_no_names() {
    let pair = Pair::start().await;
    let limits = json!([{"name": "team", "limit": 4, "window_seconds": 3600, "per": "owner"}]);
    let key = pair.mint(json!({"owner": "cust_secret", "limits": limits})).await;
    assert_eq!(ask(&pair.here, &key, json!({})).await, valid(999));
    let contents = pair.redis.contents();
    assert_eq!(contents.iter().filter(|line| line.contains(":limit:")).count(), 2, "{contents:?}");
    for line in contents {
        let (name, fields) = line.split_once(' ').unwrap();
        assert!(name.starts_with("gatepost:"), "{name}");
        assert!(fields.split(' ').all(|field| field == "s" || field.parse::<u64>().is_ok()), "{fields}");
        for known in [key["key"].as_str().unwrap(), key["secret"].as_str().unwrap(), "cust_secret", "acme"] {
            assert!(!line.contains(known), "{line}");
        }
    }
    pair.other.stop().await;
}

#[actix_web::test]
async fn instances_that_use_one_redis_keep_their_counts_apart() {
    let pair = Pair::start().await;
    let stranger = TestApp::start_with(&[("REDIS_URL", &pair.redis.url)]).await;
    let key = pair.mint(json!({"rate_limit": 2})).await;
    let program = stranger.program().await;
    let theirs = program.post_json("/api/keys", json!({"name": "ci", "rate_limit": 2})).await.json();
    assert_eq!(key["id"], theirs["id"], "the same number in another database");
    assert_eq!(ask(&pair.here, &key, json!({"cost": 2})).await, valid(0));
    assert_eq!(ask(&program, &theirs, json!({"cost": 2})).await, valid(0));
    pair.other.stop().await;
}

#[actix_web::test]
async fn a_changed_quota_reaches_the_other_replicas_copies_of_the_whole_lineage() {
    let pair = Pair::start().await;
    let old = pair.mint(json!({"rate_limit": 100, "quota": {"limit": 50}})).await;
    let rotation = format!("/api/keys/{}/rotation", old["id"]);
    let new = pair.here.post_json(&rotation, json!({"overlap_seconds": 3600})).await.assert_status(201).json();
    for key in [&old, &new] {
        assert_eq!(verify(&pair.there, key, json!({})).await["quota"]["limit"], 50);
    }
    let change = json!({"quota": {"limit": 70}});
    pair.here.patch_json(format!("/api/keys/{}", new["id"]), change).await.assert_ok();
    for key in [&new, &old] {
        for _ in 0..100 {
            if verify(&pair.there, key, json!({})).await["quota"]["limit"] == 70 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(verify(&pair.there, key, json!({})).await["quota"]["limit"], 70);
    }
    pair.other.stop().await;
}

//! Time from the response to a publisher until the event arrives, at a moderate rate.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;

use crate::child::Child;
use crate::client::{Line, Request, share};
use crate::house::micros;

const PER_SECOND: u32 = 200;
const PUBLISHERS: u32 = 8;
/// Seconds for which events are published.
const SECONDS: u32 = 10;

pub async fn at_ease(bare: &Child, gatepost: &Child) {
    println!("From the answer to the arrival, {PER_SECOND} events/s, {SECONDS} s each");
    let token = gatepost.told("token");
    // Deliveries to a webhook with a rate limit are never leased on publishing, so they are claimed.
    for (name, kind, rate) in [("sent at once", "at.once", "null"), ("by a claim", "by.claim", "1000")] {
        subscribe(bare, gatepost, token, kind, rate).await;
        let took = measure(bare, gatepost, token, kind, PER_SECOND).await;
        println!("  {name:<30} p50 {:>6} µs   p99 {:>6} µs", share(&took, 500), share(&took, 990));
    }
}

/// Creates a webhook to the receiver that records arrival times.
pub async fn subscribe(bare: &Child, gatepost: &Child, token: &str, kind: &str, rate: &str) {
    let ask = format!(
        "{{\"url\": \"http://{}/clocked\", \"events\": [\"{kind}\"], \"rate_per_second\": {rate}, \"max_in_flight\": 100}}",
        bare.addr
    );
    let bearer = format!("authorization: Bearer {token}");
    let subscribe = Request::new("POST", "/api/webhooks", gatepost.addr, &[&bearer], &ask).expecting(201);
    Line::open(gatepost.addr).await.ask(&subscribe).await;
}

/// Returns microseconds from response to arrival, sorted.
pub async fn measure(bare: &Child, gatepost: &Child, token: &str, kind: &str, per_second: u32) -> Vec<u64> {
    let answered = publish(gatepost, &format!("authorization: Bearer {token}"), kind, per_second).await;
    let mut took = waits(bare, answered).await;
    took.sort_unstable();
    took
}

/// Publishes events and returns the time of each response, by event number.
async fn publish(gatepost: &Child, bearer: &str, kind: &str, per_second: u32) -> HashMap<u64, u64> {
    let gap = Duration::from_secs(1) * PUBLISHERS / per_second;
    let begun = Instant::now();
    let loops = (0..PUBLISHERS).map(|index| {
        let (addr, bearer, kind) = (gatepost.addr, bearer.to_owned(), kind.to_owned());
        tokio::spawn(async move {
            let (mut line, mut due, mut answered) =
                (Line::open(addr).await, begun + gap * index / PUBLISHERS, Vec::new());
            for n in (index..per_second * SECONDS).step_by(PUBLISHERS as usize) {
                tokio::time::sleep_until(due.into()).await;
                let event = format!("{{\"type\": \"{kind}\", \"data\": {{\"n\": {n}}}}}");
                line.ask(&Request::new("POST", "/api/events", addr, &[&bearer], &event).expecting(202)).await;
                answered.push((u64::from(n), micros()));
                due += gap;
            }
            answered
        })
    });
    join_all(loops).await.into_iter().flat_map(|answered| answered.expect("no loop panics")).collect()
}

/// Returns microseconds from response to arrival. Zero for events that arrived before the response.
async fn waits(bare: &Child, answered: HashMap<u64, u64>) -> Vec<u64> {
    let (mut line, until) = (Line::open(bare.addr).await, Instant::now() + Duration::from_secs(30));
    let mut took = Vec::new();
    while took.len() < answered.len() {
        assert!(Instant::now() < until, "events are missing");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let arrived: Value =
            serde_json::from_str(&line.ask(&Request::new("GET", "/arrivals", bare.addr, &[], "")).await).unwrap();
        for one in arrived.as_array().unwrap() {
            let (n, at) = (one[0].as_u64().unwrap(), one[1].as_u64().unwrap());
            took.push(at.saturating_sub(answered[&n]));
        }
    }
    took
}

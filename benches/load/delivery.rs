//! Events published, signed and delivered to a receiver on this machine, compared with posting to it directly.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::child::Child;
use crate::client::{Line, Request, median};
use crate::postgres::Cluster;

const EVENTS: usize = 4_000;
const PUBLISHERS: usize = 16;
const TURNS: usize = 3;
/// Turns before the measurement that are not counted.
const WARM_TURNS: usize = 7;
/// Events per second, and minutes, of the memory measurement.
const STEADY: usize = 1_000;
const MINUTES: usize = 10;
/// Events per request.
const BATCH: usize = 100;

pub async fn delivered(bare: &Child, gatepost: &Child) {
    println!("Published and delivered, {EVENTS} events over {PUBLISHERS} connections, median of {TURNS} turns");
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    for kind in ["one.*", "four.n0", "four.n1", "four.n2", "four.n3"] {
        subscribe(bare, gatepost, &bearer, kind).await;
    }
    let event = |kind: &str| format!("{{\"type\": \"{kind}\", \"data\": {{\"id\": 1}}}}");
    let direct = Request::new("POST", "/hook", bare.addr, &[], "{\"id\": 1}");
    let single = Request::new("POST", "/api/events", gatepost.addr, &[&bearer], &event("one.more")).expecting(202);
    let to_one = batch(gatepost, &bearer, &vec![event("one.more"); BATCH]);
    let four: Vec<_> = (0..BATCH).map(|n| event(&format!("four.n{}", n % 4))).collect();
    let to_four = batch(gatepost, &bearer, &four);
    let ways = [
        ("one by one", &single, EVENTS),
        ("in batches, to one webhook", &to_one, EVENTS / BATCH),
        ("in batches, to four webhooks", &to_four, EVENTS / BATCH),
    ];
    let mut cluster = Cluster::of(gatepost);
    let posted = median(vec![rate(send(&direct, EVENTS).await), rate(send(&direct, EVENTS).await)]);
    println!("  posted directly                {posted:>8.0}/s");
    for (name, request, count) in ways {
        let before = cluster.statements();
        let (server, database, receiver) = (gatepost.cpu(), cluster.cpu(), bare.cpu());
        let delivered = median_rate(bare, request, count, TURNS).await;
        let all = (TURNS * EVENTS) as f64;
        let [server, database, receiver] =
            [gatepost.cpu() - server, cluster.cpu() - database, bare.cpu() - receiver].map(|cpu| cpu * 1e3 / all);
        let after = cluster.statements();
        println!("  {name:<30} {delivered:>8.0}/s  {:>5.2} of posting", delivered / posted);
        println!("    CPU each: server {server:.2} ms, Postgres {database:.2} ms, receiver {receiver:.2} ms");
        if let (Some(before), Some(after)) = (before, after) {
            println!("    statements each, BEGIN and COMMIT included: {:.2}", (after - before) as f64 / all);
        }
    }
    println!("  memory of the server           {:>8.1} MiB", gatepost.memory());
    let (before, pause) = (cluster.statements(), Duration::from_secs(10));
    tokio::time::sleep(pause).await;
    if let (Some(before), Some(after)) = (before, cluster.statements()) {
        println!("  statements while idle          {:>8.1}/s", (after - before) as f64 / pause.as_secs_f64());
    }
}

/// Creates a webhook to the receiver.
async fn subscribe(bare: &Child, gatepost: &Child, bearer: &str, kind: &str) {
    let ask = format!("{{\"url\": \"http://{}/hook\", \"events\": [\"{kind}\"], \"max_in_flight\": 100}}", bare.addr);
    let subscribe = Request::new("POST", "/api/webhooks", gatepost.addr, &[bearer], &ask).expecting(201);
    Line::open(gatepost.addr).await.ask(&subscribe).await;
}

fn batch(gatepost: &Child, bearer: &str, events: &[String]) -> Request {
    let events = format!("{{\"events\": [{}]}}", events.join(","));
    Request::new("POST", "/api/events/batch", gatepost.addr, &[bearer], &events).expecting(202)
}

/// Returns events per second, published in batches and delivered to a webhook of its own: the median of several turns
/// after warming up. Also returns the number of delivered events.
pub async fn in_batches(bare: &Child, gatepost: &Child) -> (f64, usize) {
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let kind = format!("batch.n{}", crate::house::micros());
    subscribe(bare, gatepost, &bearer, &kind).await;
    let event = format!("{{\"type\": \"{kind}\", \"data\": {{\"id\": 1}}}}");
    let request = batch(gatepost, &bearer, &vec![event; BATCH]);
    published(bare, &request, EVENTS / BATCH).await;
    (median_rate(bare, &request, EVENTS / BATCH, WARM_TURNS).await, (1 + WARM_TURNS) * EVENTS)
}

/// Returns events per second, published one by one and delivered: the median of several turns.
pub async fn one_by_one(bare: &Child, gatepost: &Child, token: &str) -> f64 {
    let bearer = format!("authorization: Bearer {token}");
    subscribe(bare, gatepost, &bearer, "single").await;
    let event = "{\"type\": \"single\", \"data\": {\"id\": 1}}";
    let request = Request::new("POST", "/api/events", gatepost.addr, &[&bearer], event).expecting(202);
    median_rate(bare, &request, EVENTS, TURNS).await
}

/// Prints the server's memory while it delivers events for ten minutes, at a rate that it sustains.
pub async fn at_length(bare: &Child, gatepost: &Child) {
    println!("Memory of the server, {STEADY} events/s in batches of {BATCH}, each delivered");
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    subscribe(bare, gatepost, &bearer, "steady").await;
    let request = batch(gatepost, &bearer, &vec!["{\"type\": \"steady\", \"data\": {\"id\": 1}}".to_owned(); BATCH]);
    let (begun, before) = (Instant::now(), received(bare).await);
    let mut line = Line::open(gatepost.addr).await;
    let per_minute = STEADY * 60 / BATCH;
    for minute in 1..=MINUTES {
        for number in 0..per_minute {
            let due = (minute - 1) * per_minute + number;
            tokio::time::sleep_until(
                (begun + Duration::from_secs(1) * due as u32 * BATCH as u32 / STEADY as u32).into(),
            )
            .await;
            line.ask(&request).await;
        }
        println!(
            "  after {minute:>2} minutes  {:>8.1} MiB   {:>8} delivered",
            gatepost.memory(),
            received(bare).await - before
        );
    }
}

/// Returns the median of events per second, published by `count` requests per turn and delivered.
async fn median_rate(bare: &Child, request: &Request, count: usize, turns: usize) -> f64 {
    let mut rates = Vec::new();
    for _ in 0..turns {
        rates.push(rate(published(bare, request, count).await));
    }
    median(rates)
}

fn rate(took: Duration) -> f64 {
    EVENTS as f64 / took.as_secs_f64()
}

/// Returns the time from the first request to the arrival of the last event.
async fn published(bare: &Child, request: &Request, count: usize) -> Duration {
    let (before, begun) = (received(bare).await, Instant::now());
    send(request, count).await;
    while received(bare).await < before + EVENTS {
        assert!(begun.elapsed() < Duration::from_secs(120), "deliveries are missing");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    begun.elapsed()
}

async fn send(request: &Request, count: usize) -> Duration {
    let begun = Instant::now();
    let loops = (0..PUBLISHERS).map(|index| {
        let request = request.clone();
        tokio::spawn(async move {
            let mut line = Line::open(request.addr).await;
            for _ in (index..count).step_by(PUBLISHERS) {
                line.ask(&request).await;
            }
        })
    });
    join_all(loops).await;
    begun.elapsed()
}

async fn received(bare: &Child) -> usize {
    let mut line = Line::open(bare.addr).await;
    line.ask(&Request::new("GET", "/count", bare.addr, &[], "")).await.parse().unwrap()
}

//! Usage records stored per second, alone and beside verifications.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::child::Child;
use crate::client::{Line, Request, paced, share};

const LENGTH: Duration = Duration::from_secs(10);
const RECORDS: usize = 5_000;
const REPORTERS: usize = 2;

pub async fn stored(gatepost: &Child) {
    println!("Usage, reported in calls of {RECORDS} records over {REPORTERS} connections, {LENGTH:?}");
    let alone = report(gatepost).await;
    println!("  stored alone                   {alone:>8.0} records/s");
    let verification = Request::new(
        "POST",
        "/api/keys/verification",
        gatepost.addr,
        &[&format!("authorization: Bearer {}", gatepost.told("token"))],
        &format!("{{\"key\": \"{}\"}}", gatepost.told("key")),
    );
    let (beside, took) = tokio::join!(report(gatepost), paced(&verification, 2_000, 20, LENGTH));
    println!("  beside 2000 verifications/s    {beside:>8.0} records/s   their p99 {} µs", share(&took, 990));
    println!("  records lost                   {:>8}", lost(gatepost).await);
}

/// Returns records per second that were committed. They have twelve endpoints, three outcomes and varied latencies.
async fn report(gatepost: &Child) -> f64 {
    let record = |n: usize| {
        let (status, millis) = (if n.is_multiple_of(50) { 500 } else { 200 }, n % 97);
        format!(
            "{{\"key_id\":{},\"endpoint\":\"/orders/{}\",\"method\":\"GET\",\"status\":{status},\"duration_ms\":{millis}}}",
            gatepost.told["key_id"],
            n % 12
        )
    };
    let body = format!("{{\"records\":[{}]}}", (0..RECORDS).map(record).collect::<Vec<_>>().join(","));
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let request = Request::new("POST", "/api/usage", gatepost.addr, &[&bearer], &body).expecting(202);
    let begun = Instant::now();
    let loops = (0..REPORTERS).map(|_| {
        let request = request.clone();
        tokio::spawn(async move {
            let (mut line, mut calls) = (Line::open(request.addr).await, 0);
            while begun.elapsed() < LENGTH {
                line.ask(&request).await;
                calls += 1;
            }
            calls
        })
    });
    let calls: usize = join_all(loops).await.into_iter().map(|calls| calls.expect("no loop panics")).sum();
    (calls * RECORDS) as f64 / begun.elapsed().as_secs_f64()
}

async fn lost(gatepost: &Child) -> String {
    let mut line = Line::open(gatepost.addr).await;
    let metrics = line.ask(&Request::new("GET", "/metrics", gatepost.addr, &[], "")).await;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("gatepost_usage_dropped_total "));
    dropped.unwrap_or("0").to_owned()
}

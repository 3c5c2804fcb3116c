//! Verification compared with a bare route: throughput, CPU, latency at a fixed rate, and memory under full load.

use std::time::Duration;

use crate::child::Child;
use crate::client::{Line, Request, flood, median, paced, share};
use crate::house::AS_MUCH;

const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 32;

pub fn bare_route(bare: &Child) -> Request {
    Request::new("GET", "/bare", bare.addr, &[], "")
}

pub fn verification(gatepost: &Child, key: &str) -> Request {
    verification_at(gatepost, "/api/keys/verification", gatepost, key)
}

fn verification_at(server: &Child, path: &str, gatepost: &Child, key: &str) -> Request {
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let body = format!("{{\"key\": \"{key}\"}}");
    Request::new("POST", path, server.addr, &[&bearer, "content-type: application/json"], &body)
}

fn with_key(gatepost: &Child, path: &str) -> Request {
    Request::new("GET", path, gatepost.addr, &[&format!("x-api-key: {}", gatepost.told("key"))], "")
}

fn sides<'a>(bare: &'a Child, gatepost: &'a Child) -> Vec<Side<'a>> {
    vec![
        ("bare route", bare, bare_route(bare)),
        ("bare POST of as many bytes", bare, verification_at(bare, "/bare", gatepost, gatepost.told("key"))),
        ("POST /api/keys/verification", gatepost, verification(gatepost, gatepost.told("key"))),
        ("  of an unknown key", gatepost, verification(gatepost, gatepost.told("unknown"))),
        ("  of a malformed key", gatepost, verification(gatepost, "sk_made_up")),
        ("GET /protected/", gatepost, with_key(gatepost, "/protected/")),
        ("GET /auth", gatepost, with_key(gatepost, "/auth")),
    ]
}

/// Measures responses per second and CPU per request, as medians of alternating turns.
pub async fn throughput(bare: &Child, gatepost: &Child) {
    let sides = sides(bare, gatepost);
    let answer = Line::open(gatepost.addr).await.ask(&verification(gatepost, gatepost.told("key"))).await.len();
    assert!(answer.abs_diff(AS_MUCH.len()) < AS_MUCH.len() / 10, "a verification is answered {answer} bytes");
    throughput_of(&sides).await;
}

/// Side of a measurement: name, process and request. The first side is the baseline.
pub type Side<'a> = (&'static str, &'a Child, Request);

pub async fn throughput_of(sides: &[Side<'_>]) {
    println!("Throughput, {CONNECTIONS} connections, median of {TURNS} alternating turns of {TURN:?}");
    let mut rates = vec![Vec::new(); sides.len()];
    let mut costs = vec![Vec::new(); sides.len()];
    for _ in 0..TURNS {
        for (((_, child, request), rates), costs) in sides.iter().zip(&mut rates).zip(&mut costs) {
            let before = child.cpu();
            let count = flood(request, CONNECTIONS, TURN).await as f64;
            rates.push(count / TURN.as_secs_f64());
            costs.push((child.cpu() - before) * 1e6 / count);
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(median).collect();
    let costs: Vec<f64> = costs.into_iter().map(median).collect();
    let (bare_rate, bare_cost) = (rates.first().unwrap(), costs.first().unwrap());
    for (((name, _, _), rate), cost) in sides.iter().zip(&rates).zip(&costs) {
        let (rate_ratio, cost_ratio) = (rate / bare_rate, cost / bare_cost);
        println!(
            "  {name:<30} {rate:>8.0}/s  {rate_ratio:>5.2} of bare   {cost:>6.1} µs CPU  {cost_ratio:>5.2} of bare"
        );
    }
}

const PER_SECOND: u32 = 2_000;

/// Measures latency at a fixed rate that is easy for every side.
pub async fn latency(bare: &Child, gatepost: &Child) {
    latency_of(&sides(bare, gatepost)).await;
}

pub async fn latency_of(sides: &[Side<'_>]) {
    println!("Latency at {PER_SECOND} requests/s, median of {TURNS} alternating turns of {TURN:?}");
    let (mut p50, mut p99) = (vec![Vec::new(); sides.len()], vec![Vec::new(); sides.len()]);
    for _ in 0..TURNS {
        for (((_, _, request), p50), p99) in sides.iter().zip(&mut p50).zip(&mut p99) {
            let took = paced(request, PER_SECOND, 20, TURN).await;
            p50.push(share(&took, 500) as f64);
            p99.push(share(&took, 990) as f64);
        }
    }
    let p50: Vec<f64> = p50.into_iter().map(median).collect();
    let p99: Vec<f64> = p99.into_iter().map(median).collect();
    let bare_p99 = p99.first().unwrap();
    for (((name, _, _), p50), p99) in sides.iter().zip(&p50).zip(&p99) {
        println!("  {name:<30} p50 {p50:>6.0} µs   p99 {p99:>6.0} µs  {:>5.2} of bare", p99 / bare_p99);
    }
}

/// Measures memory before and after a minute of full load.
pub async fn memory(gatepost: &Child) {
    let request = verification(gatepost, gatepost.told("key"));
    flood(&request, CONNECTIONS, Duration::from_secs(10)).await;
    let before = gatepost.memory();
    let count = flood(&request, CONNECTIONS, Duration::from_secs(60)).await;
    let after = gatepost.memory();
    println!("Memory: {before:.1} MiB, and {after:.1} MiB after a minute of full load ({count} verifications)");
}

//! Events published, signed and delivered to a receiver on this machine, beside posting to it directly.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::child::Child;
use crate::client::{Line, Request, median};

const EVENTS: usize = 4_000;
const PUBLISHERS: usize = 16;
const TURNS: usize = 3;

pub async fn delivered(bare: &Child, gatepost: &Child) {
    println!("Delivery, {EVENTS} events over {PUBLISHERS} connections, median of {TURNS} turns");
    let bearer = format!("authorization: Bearer {}", gatepost.told("token"));
    let ask = format!("{{\"url\": \"http://{}/hook\", \"events\": [\"*\"], \"max_in_flight\": 64}}", bare.addr);
    let subscribe = Request::new("POST", "/api/webhooks", gatepost.addr, &[&bearer], &ask).expecting(201);
    Line::open(gatepost.addr).await.ask(&subscribe).await;
    let direct = Request::new("POST", "/hook", bare.addr, &[], "{\"id\": 1}");
    let publish = "{\"type\": \"order.created\", \"data\": {\"id\": 1}}";
    let publish = Request::new("POST", "/api/events", gatepost.addr, &[&bearer], publish).expecting(202);
    let (mut posted, mut delivered, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        posted.push(EVENTS as f64 / send(&direct).await.as_secs_f64());
        let (before, cpu, begun) = (received(bare).await, gatepost.cpu(), Instant::now());
        send(&publish).await;
        while received(bare).await < before + EVENTS {
            assert!(begun.elapsed() < Duration::from_secs(120), "deliveries are missing");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        delivered.push(EVENTS as f64 / begun.elapsed().as_secs_f64());
        costs.push((gatepost.cpu() - cpu) * 1e3 / EVENTS as f64);
    }
    let (posted, delivered, cost) = (median(posted), median(delivered), median(costs));
    println!("  posted directly                {posted:>8.0}/s");
    println!(
        "  published and delivered        {delivered:>8.0}/s  {:>5.2} of posting   {cost:.2} ms CPU of the server",
        delivered / posted
    );
}

async fn send(request: &Request) -> Duration {
    let begun = Instant::now();
    let loops = (0..PUBLISHERS).map(|_| {
        let request = request.clone();
        tokio::spawn(async move {
            let mut line = Line::open(request.addr).await;
            for _ in 0..EVENTS / PUBLISHERS {
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

//! Load benchmarks (`make bench`): the real server in its own process, compared with a bare route of the same build.
//! Ratios tell more than absolute figures: both sides of each run on the same machine, in alternating turns.
//!
//! `make bench SECTIONS="verification usage"` runs some of the sections verification, latency, usage, memory, arrival
//! and delivery. More sections run only if named, since they fill tables, take long or start more servers:
//!
//! * fair: one tenant's load beside another's
//! * history: deliveries with a million old ones
//! * million: a million keys
//! * length: ten minutes of deliveries
//! * shared: limits counted in Redis
//! * signin: a flood of sign-ins
//! * scale: every list and filter, with a million keys and deliveries, or GATEPOST_BENCH_SIZE of each; takes up to an
//!   hour
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::as_conversions,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

mod arrival;
mod child;
mod client;
mod delivery;
mod fair;
mod gate;
mod house;
mod million;
mod postgres;
mod scale;
mod shared;
mod signin;
mod usage;

use child::Child;

const SECTIONS: [&str; 6] = ["verification", "latency", "usage", "memory", "arrival", "delivery"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` and nextest ask for a list of tests: there are none.
    if arguments.iter().any(|argument| argument == "--list" || argument == "--test") {
        return;
    }
    if let Ok(role) = std::env::var(child::ROLE) {
        child::play(&role);
        return;
    }
    let named: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let wanted = if named.is_empty() { SECTIONS.to_vec() } else { named };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&wanted));
}

async fn measure(wanted: &[&str]) {
    let (bare, gatepost) = (Child::start("bare"), Child::start("gatepost"));
    for section in wanted {
        match *section {
            "verification" => gate::throughput(&bare, &gatepost).await,
            "latency" => gate::latency(&bare, &gatepost).await,
            "usage" => usage::stored(&gatepost).await,
            "memory" => gate::memory(&gatepost).await,
            "delivery" => delivery::delivered(&bare, &gatepost).await,
            "arrival" => arrival::at_ease(&bare, &gatepost).await,
            "fair" => fair::to_others(&bare, &gatepost).await,
            "history" => fair::with_history(&bare, &gatepost).await,
            "length" => delivery::at_length(&bare, &gatepost).await,
            "shared" => shared::limits(&bare, &gatepost).await,
            "signin" => signin::in_a_flood().await,
            "million" => million::keys(&gatepost).await,
            "scale" => scale::lists(&gatepost).await,
            other => eprintln!("there is no section {other}"),
        }
    }
}

//! Legitimate sign-ins that succeed during a flood of others, from known and from unknown addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use serde_json::json;

use crate::child::Child;

/// Sign-ins of the flood under way at once.
const FLOOD: usize = 200;
const RIGHTFUL: usize = 15;

/// Returns the status of a sign-in from this address, as reported by a proxy.
async fn status(client: &Client, server: &str, from: String, email: &str, password: &str) -> u16 {
    let request = client.post(format!("http://{server}/api/auth/login")).header("x-forwarded-for", from);
    let body = json!({"email": email, "password": password}).to_string();
    request.header("content-type", "application/json").body(body).send().await.unwrap().status().as_u16()
}

async fn rightful(client: &Client, server: &str, network: &str) -> usize {
    let mut answered = 0;
    for number in 0..RIGHTFUL {
        let from = format!("{network}.{number}");
        let status = status(client, server, from, "bench@example.com", "measure twice, cut once").await;
        answered += usize::from(status == 201);
    }
    answered
}

pub async fn in_a_flood() {
    let gatepost = Child::start("signin");
    let (client, server) = (gatepost::outbound::http().build().unwrap(), gatepost.told("addr").to_owned());
    let alone = rightful(&client, &server, "198.51.100").await;
    let (is_over, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..FLOOD)
        .map(|_| {
            let (client, server) = (client.clone(), server.clone());
            let (is_over, next) = (Arc::clone(&is_over), Arc::clone(&next));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Acquire) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let from = format!("203.{}.{}.{}", number / 65_536 % 256, number / 256 % 256, number % 256);
                    status(&client, &server, from, &format!("user{number}@example.com"), "wrong").await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let unknown = rightful(&client, &server, "192.0.2").await;
    let known = rightful(&client, &server, "198.51.100").await;
    is_over.store(true, Ordering::Release);
    for one in flood {
        one.await.unwrap();
    }
    println!("sign-ins answered, of {RIGHTFUL}: {alone} without a flood; with {FLOOD} others under way at a time,");
    println!("  {unknown} from addresses that had not signed in before, {known} from addresses that had");
}

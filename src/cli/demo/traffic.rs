//! Steady, limited traffic over HTTP: a few requests and events per second.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::json;

use super::scene::Cast;
use crate::outbound::http;

const PACE: Duration = Duration::from_millis(400);

/// Sends requests until it is aborted. Responses do not matter: pages show them.
pub async fn flow(base: String, cast: Cast) {
    let Ok(client) = http().timeout(Duration::from_secs(5)).build() else { return };
    let mut ticks = tokio::time::interval(PACE);
    for number in 0_u64.. {
        ticks.tick().await;
        if let Some(request) = act(&client, &base, &cast, number)
            && let Err(error) = request.send().await
        {
            tracing::debug!(%error, "a request of the demonstration failed");
        }
    }
}

fn act(client: &Client, base: &str, cast: &Cast, number: u64) -> Option<RequestBuilder> {
    let post = |path: &str, key: &str| client.post(format!("{base}{path}")).header("x-api-key", key);
    let get = |path: &str, key: &str| client.get(format!("{base}{path}")).header("x-api-key", key);
    let publish = |kind: &str| {
        let body = json!({"type": kind, "data": {"id": number, "total": 5 + number * 7 % 180, "currency": "EUR"}});
        client.post(format!("{base}/api/events")).bearer_auth(&cast.token).json(&body)
    };
    Some(match number % 25 {
        0 | 8 | 16 => publish("order.created"),
        4 | 20 => publish("order.shipped"),
        12 => publish("inventory.changed"),
        1 | 3 | 5 | 9 | 13 | 17 => post("/webhook/orders", &cast.storefront).json(&json!({"order": number})),
        2 | 10 | 18 => post("/webhook/inventory", &cast.scanner).json(&json!({"sku": "A-1", "change": -1})),
        6 | 14 | 22 => get("/external/products", &cast.storefront),
        7 => get("/external/products", &cast.report),
        15 => post("/webhook/inventory", &cast.storefront).json(&json!({"sku": "A-2"})),
        19 => get("/external/products", &cast.leaver),
        23 => get("/api/data", &cast.revoked),
        24 => publish("customer.updated"),
        _ => return None,
    })
}

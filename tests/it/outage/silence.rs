//! Silently dead connections of a replica: no packets arrive, and no error is reported.

use std::time::Duration;

use gatepost::app::{App, Running};
use serde_json::{Value, json};

use super::until;
use crate::support::proxy::Proxy;
use crate::support::{Person, TestApp, settings};

/// Two replicas. The second one reaches the database through a proxy.
struct Pair {
    _app: TestApp,
    program: Person,
    proxy: Proxy,
    replica: Running,
}

impl Pair {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let program = app.program().await;
        let proxy = Proxy::start(&app.database.url);
        let settings = settings::for_test(&proxy.url, &[]);
        let replica = App::start(settings, app.clock.clone()).await.expect("the replica starts");
        let pair = Self { _app: app, program, proxy, replica };
        pair.until_listeners(1).await;
        pair
    }

    /// Waits until this number of the replica's connections have sent LISTEN.
    async fn until_listeners(&self, count: usize) {
        for _ in 0..400 {
            if count <= self.proxy.listeners() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{} connections have listened", self.proxy.listeners());
    }

    /// Creates a key, and a program that presents it to the replica.
    async fn mint(&self) -> (Value, Person) {
        let key = self.program.post_json("/api/keys", json!({"name": "ci"})).await.assert_status(201).json();
        let base = format!("http://{}", self.replica.addr);
        let holder = Person::stranger(&base).with("x-api-key", key["secret"].as_str().unwrap());
        holder.get("/protected/").await.assert_ok();
        (key, holder)
    }

    /// Creates a key that is in the replica's cache. The notification of its creation has already arrived, so it cannot
    /// remove the key.
    async fn known_key(&self) -> (Value, Person) {
        let known = self.mint().await;
        let (marker, marked) = self.mint().await;
        self.revoke(&marker).await;
        until(401, &marked, "/protected/").await;
        known.1.get("/protected/").await.assert_ok();
        known
    }

    async fn revoke(&self, key: &Value) {
        self.program.post_json(format!("/api/keys/{}/revocation", key["id"]), json!({})).await.assert_ok();
    }

    async fn stop(self) {
        self.proxy.go_on();
        self.replica.stop().await;
    }
}

#[actix_web::test]
async fn a_replica_without_notifications_refuses_a_revoked_key_within_a_second() {
    let pair = Pair::start().await;
    let (key, holder) = pair.known_key().await;
    pair.proxy.hold_listeners();
    pair.revoke(&key).await;
    holder.within_a_second("/protected/", 401).await;
    pair.stop().await;
}

#[actix_web::test]
async fn a_replica_without_notifications_opens_another_listening_connection() {
    let pair = Pair::start().await;
    pair.proxy.hold_listeners();
    pair.until_listeners(2).await;
    let (key, holder) = pair.known_key().await;
    pair.revoke(&key).await;
    holder.within_a_second("/protected/", 401).await;
    pair.stop().await;
}

#[actix_web::test]
async fn a_replica_with_only_dead_connections_opens_new_ones_and_refuses_a_revoked_key() {
    let pair = Pair::start().await;
    let (key, holder) = pair.known_key().await;
    pair.proxy.hold_present();
    pair.revoke(&key).await;
    until(401, &holder, "/protected/").await;
    pair.stop().await;
}

#[actix_web::test]
async fn a_replica_without_a_database_still_verifies_known_keys() {
    let pair = Pair::start().await;
    let (_, holder) = pair.known_key().await;
    pair.proxy.hold_all();
    for _ in 0..60 {
        holder.get("/protected/").await.assert_ok();
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    pair.stop().await;
}

#[actix_web::test]
async fn the_metrics_show_a_wrong_clock() {
    let app = TestApp::start().await;
    app.advance(chrono::TimeDelta::minutes(-5));
    for _ in 0..400 {
        let metrics = app.stranger().get("/metrics").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("gatepost_clock_offset_seconds "));
        if line.is_some_and(|offset| (-301.0..-299.0).contains(&offset.parse::<f64>().unwrap())) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the offset of the clock is not shown");
}

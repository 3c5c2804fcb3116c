//! Outage of Postgres: clear error responses, cached keys still verified, and recovery without a restart.

mod full_disk;
mod read_only;
mod refused_usage;
mod silence;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use gatepost::domain::{ApiKeyId, Error};
use gatepost::store::{self, Db, Scope};
use serde_json::json;

use crate::support::{Person, TestApp};

/// Sends requests until the response has this status. Recovery takes a moment, but no restart.
pub async fn until(status: u16, person: &Person, path: &str) {
    for _ in 0..400 {
        if person.get(path).await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    person.get(path).await.assert_status(status);
}

#[actix_web::test]
async fn while_postgres_is_unreachable_known_keys_are_verified_and_the_rest_is_503() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let minted = token.post_json("/api/keys", json!({"name": "known"})).await.assert_status(201).json();
    let known = app.key(minted["secret"].as_str().unwrap());
    let unknown = token.post_json("/api/keys", json!({"name": "unknown"})).await.assert_status(201).json();
    let unknown = app.key(unknown["secret"].as_str().unwrap());
    app.until_all_is_heard(&token).await;
    known.get("/protected/").await.assert_ok();

    app.database.cut();

    for _ in 0..3 {
        known.get("/protected/").await.assert_ok();
    }
    let refused = unknown.get("/protected/").await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "2");
    token.get("/api/keys").await.assert_problem(503, "unavailable");
    let page = ada.visit("/keys").await;
    page.assert_status(503);
    assert!(page.html().all_text().contains("not available"), "{}", page.body);
    app.stranger().get("/healthz").await.assert_ok();
    until(503, &app.stranger(), "/readyz").await;

    app.database.mend();

    until(200, &unknown, "/protected/").await;
    until(200, &token, "/api/keys").await;
    until(200, &app.stranger(), "/readyz").await;
    ada.visit("/keys").await.assert_ok();
}

#[actix_web::test]
async fn the_loser_of_a_deadlock_is_told_to_try_again() {
    let app = TestApp::start().await;
    let program = app.program().await;
    for name in ["one", "two"] {
        program.post_json("/api/keys", json!({"name": name})).await.assert_status(201);
    }
    let (db, both, tenant) = (Db::new(&app.database.url, 2), Arc::new(Barrier::new(2)), app.tenant);
    let lock = |first, second| {
        let both = Arc::clone(&both);
        db.tx(Scope::Instance, move |conn| {
            store::api_keys::lock(conn, tenant, ApiKeyId(first))?;
            both.wait();
            store::api_keys::lock(conn, tenant, ApiKeyId(second))
        })
    };

    let (one, two) = futures_util::future::join(lock(1, 2), lock(2, 1)).await;

    let lost: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert!(matches!(lost.as_slice(), [Error::Unavailable(_)]), "{lost:?}");
}

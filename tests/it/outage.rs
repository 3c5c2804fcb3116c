//! A Postgres that goes away: clear refusals, known keys still verified, and recovery without a restart.

use std::time::Duration;

use serde_json::json;

use crate::support::{Person, TestApp};

/// Asks until the answer has this status: recovery takes a moment, but no restart.
async fn until(status: u16, person: &Person, path: &str) {
    for _ in 0..100 {
        if person.get(path).await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    person.get(path).await.assert_status(status);
}

#[actix_web::test]
async fn while_postgres_is_away_known_keys_are_verified_and_the_rest_is_503() {
    let app = TestApp::start().await;
    let ada = app.admin("ada").await;
    let token = app.token_of(&ada, &["*"]);
    let minted = token.post_json("/api/keys", json!({"name": "known"})).await.assert_status(201).json();
    let known = app.key(minted["secret"].as_str().unwrap());
    known.get("/protected/").await.assert_ok();
    let unknown = token.post_json("/api/keys", json!({"name": "unknown"})).await.assert_status(201).json();
    let unknown = app.key(unknown["secret"].as_str().unwrap());

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
    app.stranger().get("/readyz").await.assert_problem(503, "unavailable");

    app.database.mend();

    until(200, &unknown, "/protected/").await;
    until(200, &token, "/api/keys").await;
    until(200, &app.stranger(), "/readyz").await;
    ada.visit("/keys").await.assert_ok();
}

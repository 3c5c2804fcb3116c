//! Usage record that the database always refuses.

use diesel::connection::SimpleConnection;
use serde_json::json;

use crate::support::TestApp;

#[actix_web::test]
async fn only_the_refused_usage_record_of_a_batch_is_dropped() {
    // Delay writing usage, so that one batch holds all calls.
    let app = TestApp::start_with(&[("GATEPOST_USAGE_FLUSH_MS", "10000")]).await;
    let program = app.program().await;
    let mint = async |limit: i64| {
        let key = program.post_json("/api/keys", json!({"name": "ci", "rate_limit": limit})).await;
        key.assert_status(201).json()
    };
    let (wide, narrow) = (mint(1_000).await, mint(1).await);
    let call = async |key: &serde_json::Value, status: u16| {
        app.key(key["secret"].as_str().unwrap()).get("/protected/").await.assert_status(status);
    };
    call(&wide, 200).await;
    // Create today's partition, which then gets the constraint too.
    app.running().state.gate.flush().await;
    app.conn().batch_execute("ALTER TABLE usage_logs ADD CHECK (status <> 429)").unwrap();
    for _ in 0..24 {
        call(&wide, 200).await;
    }
    call(&narrow, 200).await;
    call(&narrow, 429).await;
    for _ in 0..25 {
        call(&wide, 200).await;
    }

    app.running().state.gate.flush().await;

    for (key, total) in [(&wide, 50), (&narrow, 1)] {
        let usage = program.get(format!("/api/keys/{}/usage", key["id"])).await.assert_ok().json();
        assert_eq!(usage["total"], total);
    }
    let metrics = app.stranger().get("/metrics").await;
    assert!(metrics.body.contains("gatepost_usage_dropped_total 1\n"), "{}", metrics.body);
}

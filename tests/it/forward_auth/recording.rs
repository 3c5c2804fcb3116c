//! Usage records of `/auth`: they describe the original request, without its query.

use diesel::prelude::*;
use gatepost::model::usage_log::usage_logs;
use serde_json::json;

use super::{mint, recorded, text};
use crate::support::TestApp;

fn row(method: &str, endpoint: &str, status: i16, outcome: &str) -> (String, String, i16, String) {
    (method.to_owned(), endpoint.to_owned(), status, outcome.to_owned())
}

#[actix_web::test]
async fn the_original_request_is_recorded_without_its_query() {
    let app = TestApp::start_with(&[("GATEPOST_ALLOW_QUERY_KEY", "true")]).await;
    let key = mint(&app, json!({"scopes": ["a"]})).await;
    let secret = text(&key, "secret");
    let holder = app.key(secret);
    let forwarded = holder.with("x-forwarded-uri", "/orders/7?page=2").with("x-forwarded-method", "POST");
    forwarded.get("/auth?tenant=acme").await.assert_ok();
    forwarded.get("/auth?scopes=b").await.assert_status(403);
    let nginx = holder.with("x-original-uri", "/orders?a=b#c").with("x-original-method", "delete");
    nginx.get("/auth?nginx=1").await.assert_ok();
    nginx.get("/auth?nginx=1&scopes=b").await.assert_status(403);
    holder.post_json("/auth/stock/a%20b?token=hush", json!({})).await.assert_ok();
    holder.get("/auth/").await.assert_ok();
    holder.get("/auth").await.assert_ok();
    app.stranger().with("x-forwarded-uri", &format!("/by-query?api_key={secret}")).get("/auth").await.assert_ok();
    holder.with("x-forwarded-uri", &format!("/{}", "é".repeat(300))).get("/auth").await.assert_ok();

    let rows = recorded(&app).await;

    let long = format!("/{}", "é".repeat(199));
    assert_eq!(
        rows,
        [
            row("POST", "/orders/7", 200, "VALID"),
            row("POST", "/orders/7", 403, "INSUFFICIENT_SCOPE"),
            row("DELETE", "/orders", 200, "VALID"),
            row("DELETE", "/orders", 403, "INSUFFICIENT_SCOPE"),
            row("POST", "/stock/a%20b", 200, "VALID"),
            row("GET", "/", 200, "VALID"),
            row("GET", "/auth", 200, "VALID"),
            row("GET", "/by-query", 200, "VALID"),
            row("GET", &long, 200, "VALID"),
        ]
    );
}

#[actix_web::test]
async fn each_record_has_request_id_cost_and_client_address() {
    let app = TestApp::start_with(&[("GATEPOST_TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")]).await;
    let key = mint(&app, json!({"rate_limit": 5})).await;
    let holder = app.key(text(&key, "secret")).with("x-forwarded-for", "1.1.1.1, [2001:db8::7]:443, ::ffff:10.0.0.2");
    holder.get("/auth?cost=5").await.assert_ok();
    let refused = holder.get("/auth?cost=2&nginx=1").await;
    let id = refused.assert_problem(403, "rate_limited")["request_id"].clone();
    app.running().state.gate.flush().await;
    let rows: Vec<(String, i64, Option<String>, i64)> = usage_logs::table
        .order(usage_logs::id)
        .select((usage_logs::request_id, usage_logs::cost, usage_logs::ip, usage_logs::duration_us))
        .load(&mut app.conn())
        .unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[0].1, rows[1].1), (5, 0));
    assert!(rows[0].0.len() == 36 && rows[0].0 != rows[1].0, "{rows:?}");
    assert_eq!(rows[1].0, id);
    assert!(rows.iter().all(|row| row.2.as_deref() == Some("2001:db8::7") && 0 < row.3), "{rows:?}");
    let usage = app.running().state.metrics.render();
    assert!(usage.contains("gatepost_verifications_total{outcome=\"RATE_LIMITED\"}"), "{usage}");
}

#[actix_web::test]
async fn a_request_without_a_known_key_is_not_recorded() {
    let app = TestApp::start().await;
    mint(&app, json!({})).await;
    app.stranger().get("/auth").await.assert_status(401);
    app.key("sk_made_up").get("/auth").await.assert_status(401);
    assert_eq!(recorded(&app).await, []);
}

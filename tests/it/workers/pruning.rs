//! Permanent deletion of old rows.

use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::config::Retention;
use gatepost::model::usage_log::usage_logs;
use gatepost::schema::api_keys;
use gatepost::store::Db;
use gatepost::workers::prune::Pruner;
use serde_json::json;
use tokio::sync::watch;

use crate::support::TestApp;

#[actix_web::test]
async fn a_deleted_key_s_row_is_removed_after_thirty_days_and_its_usage_stays() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let mut made = Vec::new();
    for name in ["old", "young", "alive"] {
        made.push(program.post_json("/api/keys", json!({"name": name})).await.assert_status(201).json());
    }
    app.key(made[0]["secret"].as_str().unwrap()).get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    program.delete(format!("/api/keys/{}", made[0]["id"])).await.assert_status(204);
    app.advance(TimeDelta::days(20));
    program.delete(format!("/api/keys/{}", made[1]["id"])).await.assert_status(204);
    app.advance(TimeDelta::days(10));

    let keeper = Pruner {
        db: Db::new(&app.database.url, 1),
        clock: app.clock.clone(),
        retention: Retention { usage_days: 400, buckets_days: 400, deliveries_days: 400, audit_days: 400 },
    };
    let (_stop, mut stopped) = watch::channel(false);
    keeper.round(&mut stopped).await;

    let left: Vec<String> = api_keys::table.order(api_keys::id).select(api_keys::name).load(&mut app.conn()).unwrap();
    assert_eq!(left, ["young", "alive"]);
    let usage: i64 = usage_logs::table.count().get_result(&mut app.conn()).unwrap();
    assert_eq!(usage, 1);
    program.post_json(format!("/api/keys/{}/restoration", made[1]["id"]), json!({})).await.assert_ok();
}

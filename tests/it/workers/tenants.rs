//! Workers and tenants that are suspended or deleted.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use gatepost::config::Retention;
use gatepost::services::Operator;
use gatepost::services::audit::chain;
use gatepost::services::tenants::life;
use gatepost::store::Db;
use gatepost::workers::prune::Pruner;
use serde_json::json;
use tokio::sync::watch;

use crate::support::receiver::Reply;
use crate::support::{Receiver, TestApp};

#[actix_web::test]
async fn deliveries_of_a_suspended_tenant_wait_and_are_all_sent_after_resuming() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let grace = app.operator("grace").await;
    let operator = app.instance_token_of(&grace, &["*"]);
    let beta = app.make_tenant("beta");
    let (receiver, others) = (Receiver::start().await, Receiver::start().await);
    program.subscribe(&receiver, json!({})).await;
    let there = json!({"url": others.url, "events": ["*"], "tenant_id": beta});
    operator.post_json("/api/webhooks", there).await.assert_status(201);
    // One delivery has failed once and waits for its retry.
    receiver.answer([Reply::new(500)]);
    let failed = program.publish("order.failed", json!(0)).await;
    program.delivery_once(&failed, "retrying", 1).await;

    operator.post_json("/api/tenants/1/suspension", json!({})).await.assert_ok();
    for n in 1..=20 {
        program.publish("order.created", json!(n)).await;
    }
    app.advance(TimeDelta::minutes(10));
    // Deliveries of another tenant continue.
    for n in 1..=5 {
        let event = json!({"type": "other", "data": n, "tenant_id": beta});
        operator.post_json("/api/events", event).await.assert_status(202);
    }
    others.wait_for(5).await;
    assert_eq!(receiver.received().len(), 1, "only what went before");

    operator.post_json("/api/tenants/1/activation", json!({})).await.assert_ok();

    let received = receiver.wait_for(22).await;
    let mut data: Vec<i64> = received[1..].iter().map(|one| body(one)["data"].as_i64().unwrap()).collect();
    data.sort_unstable();
    assert_eq!(data, (0..=20).collect::<Vec<_>>());
}

fn body(received: &crate::support::receiver::Received) -> serde_json::Value {
    serde_json::from_str(&received.text()).unwrap()
}

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Returns the tables that still contain rows of a tenant.
fn tables_with_rows_of(conn: &mut PgConnection, tenant: i64) -> Vec<String> {
    let sql = "SELECT c.table_name AS name FROM information_schema.columns c JOIN pg_class t ON t.relname = c.table_name
               WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public' AND t.relkind IN ('r', 'p') AND NOT t.relispartition ORDER BY 1";
    let tables: Vec<Table> = diesel::sql_query(sql).load(conn).unwrap();
    assert!(15 < tables.len());
    let count = |table: &Table| {
        let sql = format!("SELECT count(*) AS count FROM {} WHERE tenant_id = {tenant}", table.name);
        diesel::sql_query(sql).get_result::<Count>(conn).unwrap().count
    };
    let mut count = count;
    tables.iter().filter(|table| 0 < count(table)).map(|table| table.name.clone()).collect()
}

async fn round(app: &TestApp) {
    let keeper = Pruner {
        db: Db::new(&app.database.url, 1),
        clock: app.clock.clone(),
        retention: Retention { usage_days: 400, buckets_days: 400, deliveries_days: 400, audit_days: 400 },
    };
    let (_stop, mut stopped) = watch::channel(false);
    keeper.round(&mut stopped).await;
}

#[actix_web::test]
async fn thirty_days_after_deletion_all_data_of_the_tenant_and_only_it_is_erased() {
    let app = TestApp::start().await;
    let program = app.program().await;
    let receiver = Receiver::start().await;
    program.subscribe(&receiver, json!({})).await;
    let limited = json!({"name": "ci", "quota": {"limit": 10, "refill": null}});
    let key = program.post_json("/api/keys", limited).await.assert_status(201).json();
    app.key(key["secret"].as_str().unwrap()).get("/protected/").await.assert_ok();
    app.running().state.gate.flush().await;
    let once = program.with("idempotency-key", "a").post_json("/api/events", json!({"type": "a", "data": 1})).await;
    program.delivery_once(&once.assert_status(202).json(), "delivered", 1).await;
    let invited = json!({"email": "x@example.com", "role": "viewer"});
    program.post_json("/api/tenants/1/invitations", invited).await.assert_status(201);
    let beta = app.make_tenant("beta");
    app.person("bob", beta, gatepost::domain::Role::Owner).await;
    let before = (tables_with_rows_of(&mut app.conn(), 1), tables_with_rows_of(&mut app.conn(), beta.0));
    for table in
        ["attempts", "signing_secrets", "key_limits", "key_uses", "idempotency_keys", "usage_logs", "delivery_minutes"]
    {
        assert!(before.0.iter().any(|held| held == table), "{table} in {before:?}");
    }

    let console = Operator::at_the_console();
    app.tx(|tx| life::delete(tx, &console, app.tenant)).unwrap();
    app.advance(TimeDelta::days(30) - TimeDelta::minutes(1));
    round(&app).await;
    // Idempotency keys are removed after a day in any case.
    let kept: Vec<_> = before.0.iter().filter(|table| *table != "idempotency_keys").cloned().collect();
    assert_eq!(tables_with_rows_of(&mut app.conn(), 1), kept, "there is still time");
    app.advance(TimeDelta::minutes(2));
    let late = app.tx(|tx| life::restore(tx, &console, app.tenant));
    assert!(late.unwrap_err().to_string().contains("more than 30 days ago"));
    round(&app).await;

    assert_eq!(tables_with_rows_of(&mut app.conn(), 1), [""; 0]);
    assert_eq!(tables_with_rows_of(&mut app.conn(), beta.0), before.1);
    assert!(app.tx(|tx| life::restore(tx, &console, app.tenant)).is_err());
    let erased: i64 = {
        use gatepost::schema::audit_entries;
        let found = audit_entries::table.filter(audit_entries::action.eq("tenant.erased")).count();
        found.get_result(&mut app.conn()).unwrap()
    };
    assert_eq!(erased, 1, "the instance remembers that there was one");
    assert!(chain::verify(&mut app.conn(), None).unwrap().iter().all(|reading| reading.broken.is_none()));
    app.make_tenant("acme");
}

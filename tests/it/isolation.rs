//! Row-level security: a query without a tenant filter finds no rows of other tenants.

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::store::{Db, Scope};

use crate::support::TestApp;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Tables with rows of tenants, which are read without a filter.
const TABLES: [&str; 28] = [
    "access_tokens",
    "api_keys",
    "attempts",
    "audit_chains",
    "audit_entries",
    "deliveries",
    "delivery_hours",
    "delivery_minutes",
    "event_months",
    "events",
    "idempotency_keys",
    "invitations",
    "key_counts",
    "key_limits",
    "key_uses",
    "mails",
    "memberships",
    "open_deliveries",
    "signing_secrets",
    "told_expiries",
    "tenant_key_words",
    "tenants",
    "unreachable_hosts",
    "usage_hours",
    "usage_latencies",
    "usage_logs",
    "usage_minutes",
    "webhooks",
];

fn count(conn: &mut PgConnection, table: &str) -> i64 {
    let found: Count = diesel::sql_query(format!("SELECT count(*) AS count FROM {table}")).get_result(conn).unwrap();
    found.count
}

#[actix_web::test]
async fn a_query_without_its_tenant_filter_finds_only_its_own_tenant() {
    let app = TestApp::start().await;
    let beta = app.make_tenant("beta");
    app.admin("ada").await;
    let db = Db::new(&app.database.url, 2);

    let seen = db.read(Scope::Tenant(beta), |conn| Ok(TABLES.map(|table| count(conn, table)))).await.unwrap();
    let all = db.read(Scope::Instance, |conn| Ok(TABLES.map(|table| count(conn, table)))).await.unwrap();

    for ((table, seen), all) in TABLES.iter().zip(seen).zip(all) {
        match *table {
            "tenants" => assert_eq!((seen, all), (1, 2)),
            // Creating a tenant writes an entry to its own audit log.
            "audit_chains" | "audit_entries" => assert!(seen == 1 && seen < all, "{seen} of {all}"),
            "memberships" => assert_eq!((seen, all), (0, 1)),
            _ => assert_eq!(seen, 0, "{table}"),
        }
    }
}

#[actix_web::test]
async fn every_table_with_a_tenant_has_row_level_security() {
    let app = TestApp::start().await;
    let sql = "SELECT count(*) AS count FROM information_schema.columns c JOIN pg_class t ON t.relname = c.table_name
               WHERE c.column_name = 'tenant_id' AND c.table_schema = 'public' AND NOT t.relrowsecurity AND NOT t.relispartition AND t.relkind IN ('r', 'p')";
    let found: Count = diesel::sql_query(sql).get_result(&mut app.conn()).unwrap();
    assert_eq!(found.count, 0);
}

#[actix_web::test]
async fn the_database_role_for_tenants_cannot_read_passwords() {
    let app = TestApp::start().await;
    app.admin("ada").await;
    let db = Db::new(&app.database.url, 1);
    let read = db.read(Scope::Tenant(app.tenant), |conn| {
        Ok(diesel::sql_query("SELECT password_hash FROM users").execute(&mut **conn).map_err(|error| error.to_string()))
    });
    assert!(read.await.unwrap().unwrap_err().contains("permission denied"));
}

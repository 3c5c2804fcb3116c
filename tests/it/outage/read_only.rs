//! Read-only database: a standby after a failover, or a lock by an administrator.

use serde_json::json;

use super::until;
use crate::support::TestApp;
use crate::support::database::Database;

/// Makes new sessions read-only, and ends the existing ones.
const LOCK: &str =
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
    PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid(); END $$";
/// Lets new sessions write, and leaves existing ones unchanged.
const UNLOCK: &str =
    "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$";

fn execute(database: &Database, sql: &str) {
    use diesel::connection::SimpleConnection;
    let mut conn = database.connect();
    conn.batch_execute("SET default_transaction_read_only = off").unwrap();
    conn.batch_execute(sql).unwrap();
}

#[actix_web::test]
async fn while_the_database_is_read_only_writes_are_503_and_readyz_fails() {
    let app = TestApp::start().await;
    let program = app.program().await;
    execute(&app.database, LOCK);

    let refused = program.post_json("/api/keys", json!({"name": "ci"})).await;
    refused.assert_problem(503, "unavailable");
    assert_eq!(refused.header("retry-after"), "2");
    until(503, &app.stranger(), "/readyz").await;
}

#[actix_web::test]
async fn read_only_connections_are_replaced_once_the_database_is_writable() {
    let app = TestApp::start().await;
    let program = app.program().await;
    execute(&app.database, LOCK);
    program.post_json("/api/keys", json!({"name": "ci"})).await.assert_problem(503, "unavailable");
    until(503, &app.stranger(), "/readyz").await;

    execute(&app.database, UNLOCK);

    until(200, &app.stranger(), "/readyz").await;
    for _ in 0..20 {
        if program.post_json("/api/keys", json!({"name": "ci"})).await.status == 201 {
            return;
        }
    }
    panic!("connections stay read-only");
}

#[actix_web::test]
async fn database_sessions_have_english_messages() {
    use diesel::prelude::*;
    use gatepost::store::{Db, Scope};

    #[derive(QueryableByName)]
    struct Language {
        #[diesel(sql_type = diesel::sql_types::Text)]
        language: String,
    }
    let database = Database::clone_template();
    execute(
        &database,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lc_messages = ''C.UTF-8''', current_database()); END $$",
    );
    let language = |conn: &mut PgConnection| {
        let query = diesel::sql_query("SELECT current_setting('lc_messages') AS language");
        gatepost::domain::Result::Ok(query.get_result::<Language>(conn)?.language)
    };
    let db = Db::new(&database.url, 1);
    assert_eq!(db.tx(Scope::Instance, move |tx| language(tx)).await.unwrap(), "C");
    assert_eq!(language(&mut db.dedicated().unwrap()).unwrap(), "C");
}

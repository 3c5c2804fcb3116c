//! Role `gatepost_app` and its rights: missing, incomplete, or granted by others, and the error messages meanwhile.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use gatepost::store::{fitness, tenant_role};
use serde_json::json;

use super::{advised_sql, soon, wrong};
use crate::boot::Gatepost;
use crate::outage::until;
use crate::support::database::Database;
use crate::support::{Cluster, TestApp};

#[test]
fn a_creator_who_may_grant_the_role_but_not_act_as_it_is_repaired_by_the_next_migrate() {
    let cluster = Cluster::of_version(18);
    let database = cluster.owned_database("creator", "CREATEROLE");
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["migrate"]).ok();
    if cluster.version() < 16 {
        return;
    }
    cluster.execute("postgres", "REVOKE gatepost_app FROM creator GRANTED BY creator");
    assert!(wrong(&database).contains("can't act as the role gatepost_app"));
    gatepost.run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[test]
fn a_membership_without_the_set_option_is_refused_with_the_sql_that_completes_it() {
    let cluster = Cluster::of_version(17);
    if cluster.version() < 16 {
        return;
    }
    let database = cluster.owned_database("plain", "");
    cluster.execute("postgres", "CREATE ROLE gatepost_app; GRANT gatepost_app TO plain WITH SET FALSE");
    let refused = Gatepost::on(&database).run(&["migrate"]);
    refused.assert_failed(1, &["WITH SET TRUE"]);
    cluster.execute("postgres", advised_sql(&refused));
    Gatepost::on(&database).run(&["migrate"]).ok();
}

#[test]
fn a_user_with_an_odd_name_gets_sql_that_can_be_pasted() {
    let cluster = Cluster::start();
    cluster.execute("postgres", r#"CREATE ROLE "o'da ""x"" -- %" LOGIN"#);
    cluster.execute("postgres", r#"CREATE DATABASE odd OWNER "o'da ""x"" -- %""#);
    let database = Database::elsewhere(cluster.url("o'da%20%22x%22%20--%20%25", "odd"));
    let refused = Gatepost::on(&database).run(&["migrate"]);
    cluster.execute("postgres", advised_sql(&refused));
    Gatepost::on(&database).run(&["migrate"]).ok();
}

#[test]
fn doctor_says_before_the_first_start_that_the_role_can_t_be_created() {
    let cluster = Cluster::start();
    let database = cluster.owned_database("plain", "");
    assert!(wrong(&database).contains("CREATE ROLE gatepost_app"));
    let creator = cluster.owned_database("creator", "CREATEROLE");
    assert_eq!(wrong(&creator), "");
    assert!(wrong(&database).contains("CREATE ROLE gatepost_app"), "doctor creates nothing");
}

#[actix_web::test]
async fn while_the_role_is_unusable_requests_are_503_and_readyz_fails() {
    let cluster = Cluster::start();
    cluster.execute("postgres", "CREATE ROLE gatepost_app");
    let database = cluster.owned_database("plain", "");
    cluster.execute("postgres", "GRANT gatepost_app TO plain");
    let mut app = TestApp::start_on(database, &[]).await;
    app.tenant = app.make_tenant("acme");
    let program = app.program().await;
    program.post_json("/api/keys", json!({"name": "before"})).await.assert_status(201);

    cluster.execute("postgres", "REVOKE gatepost_app FROM plain");

    let refused = program.post_json("/api/keys", json!({"name": "meanwhile"})).await;
    refused.assert_problem(503, "unavailable");
    until(503, &app.stranger(), "/readyz").await;
    let unready = app.stranger().get("/readyz").await;
    assert_eq!(unready.json()["reasons"][0]["code"], "rights", "{}", unready.body);
    assert_eq!(unready.header("retry-after"), "", "waiting does not help");
    let says = wrong(&app.database);
    assert!(says.contains("GRANT gatepost_app TO plain"), "{says}");

    cluster.execute("postgres", "GRANT gatepost_app TO plain");
    program.post_json("/api/keys", json!({"name": "after"})).await.assert_status(201);
    until(200, &app.stranger(), "/readyz").await;
}

#[actix_web::test]
async fn a_role_dropped_while_the_server_runs_is_created_by_the_next_request() {
    let cluster = Cluster::start();
    let mut app = TestApp::start_on(cluster.owned_database("creator", "CREATEROLE"), &[]).await;
    app.tenant = app.make_tenant("acme");
    let program = app.program().await;
    cluster.execute("creator", "DROP OWNED BY gatepost_app; DROP ROLE gatepost_app");
    program.post_json("/api/keys", json!({"name": "after"})).await.assert_status(201);
    app.stranger().get("/readyz").await.assert_ok();
}

#[actix_web::test]
async fn lost_rights_of_the_role_are_restored_by_the_next_request() {
    let app = TestApp::start().await;
    let program = app.program().await;
    diesel::sql_query("REVOKE ALL ON api_keys, plans FROM gatepost_app").execute(&mut app.conn()).unwrap();
    // The readiness check may come first.
    let first = program.post_json("/api/keys", json!({"name": "first"})).await.status;
    assert!([503, 201].contains(&first), "{first}");
    program.post_json("/api/keys", json!({"name": "second"})).await.assert_status(201);
}

#[actix_web::test]
async fn lost_rights_of_the_role_are_restored_by_the_readiness_check() {
    let app = TestApp::start().await;
    let mut conn = app.conn();
    diesel::sql_query("REVOKE INSERT ON webhooks FROM gatepost_app").execute(&mut conn).unwrap();
    soon(|| tenant_role::missing_privileges(&mut conn).unwrap().is_empty()).await;
    app.stranger().get("/readyz").await.assert_ok();
}

#[test]
fn a_role_that_bypasses_row_level_security_is_found_and_repaired() {
    let cluster = Cluster::start();
    let database = Database::elsewhere(cluster.url("gatepost", "gatepost"));
    Gatepost::on(&database).run(&["migrate"]).ok();
    cluster.execute("postgres", "ALTER ROLE gatepost_app BYPASSRLS");
    assert!(wrong(&database).contains("NOBYPASSRLS"));
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[test]
fn a_reversed_membership_is_found_and_repaired() {
    let cluster = Cluster::start();
    let database = Database::elsewhere(cluster.url("gatepost", "gatepost"));
    cluster.execute("postgres", "CREATE ROLE gatepost_app; GRANT gatepost TO gatepost_app");
    assert_eq!(wrong(&database), "", "the start may set it right");
    Gatepost::on(&database).run(&["migrate"]).ok();
    cluster.execute("postgres", "GRANT gatepost TO gatepost_app");
    assert!(wrong(&database).contains("REVOKE gatepost FROM gatepost_app"));
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[test]
fn a_table_without_row_level_security_is_found_and_repaired() {
    let database = Database::clone_template();
    diesel::sql_query("ALTER TABLE webhooks DISABLE ROW LEVEL SECURITY").execute(&mut database.connect()).unwrap();
    assert!(wrong(&database).contains("ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY"));
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[test]
fn a_user_who_may_not_create_tables_gets_sql_that_can_be_pasted() {
    let cluster = Cluster::of_version(16);
    cluster.execute("postgres", "CREATE ROLE guest LOGIN CREATEROLE");
    cluster.execute("gatepost", "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let database = Database::elsewhere(cluster.url("guest", "gatepost"));
    let refused = Gatepost::on(&database).run(&["migrate"]);
    refused.assert_failed(1, &["may not create tables", "GRANT USAGE, CREATE ON SCHEMA public TO guest"]);
    cluster.execute("gatepost", refused.stderr.split('`').nth(1).unwrap());
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");
}

#[test]
fn tables_of_another_owner_are_named_with_what_to_do() {
    let cluster = Cluster::start();
    Gatepost::on(&Database::elsewhere(cluster.url("gatepost", "gatepost"))).run(&["migrate"]).ok();
    cluster.execute(
        "postgres",
        "CREATE ROLE other LOGIN; GRANT gatepost_app TO other; GRANT ALL ON DATABASE gatepost TO other",
    );
    cluster.execute("gatepost", "GRANT ALL ON ALL TABLES IN SCHEMA public TO other");
    let database = Database::elsewhere(cluster.url("other", "gatepost"));
    Gatepost::on(&database).run(&["migrate"]).assert_failed(1, &["belong to gatepost", "--no-owner"]);
    assert!(wrong(&database).contains("belong to gatepost"));
}

#[derive(QueryableByName, Debug, PartialEq)]
struct Access {
    #[diesel(sql_type = Text)]
    right: String,
}

/// Returns everything that the role may do, and the rows that its policies show.
fn access(conn: &mut PgConnection) -> Vec<Access> {
    let query = "SELECT concat_ws(' ', relname, privilege_type) AS right
        FROM pg_class, aclexplode(relacl) JOIN pg_roles r ON r.oid = grantee AND r.rolname = 'gatepost_app'
        UNION
        SELECT concat_ws(' ', attrelid::regclass, attname, privilege_type)
        FROM pg_attribute, aclexplode(attacl) JOIN pg_roles r ON r.oid = grantee AND r.rolname = 'gatepost_app'
        UNION
        SELECT concat_ws(' ', polrelid::regclass, polname, pg_get_expr(polqual, polrelid),
            coalesce(pg_get_expr(polwithcheck, polrelid), pg_get_expr(polqual, polrelid)))
        FROM pg_policy JOIN pg_roles r ON r.oid = ANY (polroles) AND r.rolname = 'gatepost_app'
        ORDER BY 1";
    diesel::sql_query(query).load(conn).unwrap()
}

#[test]
fn repaired_rights_equal_the_rights_granted_by_migrations() {
    let database = Database::clone_template();
    let mut conn = database.connect();
    let granted = access(&mut conn);
    assert!(100 < granted.len(), "{granted:?}");
    assert_eq!(tenant_role::missing_privileges(&mut conn), Ok(Vec::new()));
    diesel::sql_query("DROP OWNED BY gatepost_app").execute(&mut conn).unwrap();
    assert_eq!(access(&mut conn), []);
    assert_eq!(fitness::repair(&mut conn), Ok(true));
    assert_eq!(access(&mut conn), granted);
    assert_eq!(fitness::repair(&mut conn), Ok(false));
}

#[test]
fn a_schema_named_after_the_user_does_not_hide_the_instance() {
    let database = Database::empty();
    database.connect().batch_execute("CREATE SCHEMA postgres").unwrap();
    Gatepost::on(&database).run(&["migrate"]).ok();
    assert_eq!(wrong(&database), "");

    let database = Database::empty();
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["migrate"]).ok();
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    database.connect().batch_execute("CREATE SCHEMA postgres").unwrap();
    gatepost.run(&["migrate"]).ok();
    assert!(gatepost.run(&["tenants", "list"]).ok().stdout.contains("acme"));
}

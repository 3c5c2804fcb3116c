//! The migrations, and the tables that Diesel believes in.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_migrations::{FileBasedMigrations, MigrationHarness};

use crate::support::database::{Database, MIGRATIONS};

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    place: String,
    #[diesel(sql_type = Text)]
    kind: String,
}

fn columns(conn: &mut PgConnection) -> BTreeMap<String, String> {
    let sql = "SELECT table_name || '.' || column_name AS place,
                      udt_name || CASE is_nullable WHEN 'YES' THEN '?' ELSE '' END AS kind
               FROM information_schema.columns
               -- No views, partitions and generated columns: nothing of Diesel's names them.
               JOIN pg_class ON relname = table_name AND relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
               WHERE NOT relispartition AND is_generated = 'NEVER' AND table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'";
    let rows: Vec<Column> = diesel::sql_query(sql).load(conn).unwrap();
    rows.into_iter().map(|row| (row.place, row.kind)).collect()
}

/// The columns as `src/schema.rs` has them, in the words of the database.
fn declared() -> BTreeMap<String, String> {
    let source = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema.rs")).unwrap();
    let (mut table, mut renamed, mut found) = (String::new(), None, BTreeMap::new());
    for line in source.lines().map(str::trim) {
        if let Some((name, _)) = line.split_once(" (").filter(|_| line.ends_with(") {")) {
            table = name.to_owned();
        } else if let Some(name) = line.strip_prefix("#[sql_name = \"") {
            renamed = name.strip_suffix("\"]").map(str::to_owned);
        } else if let Some((column, kind)) = line.split_once(" -> ").filter(|_| line.ends_with(',')) {
            let column = renamed.take().unwrap_or_else(|| column.to_owned());
            found.insert(format!("{table}.{column}"), udt(kind.trim_end_matches(',')));
        }
    }
    found
}

fn udt(kind: &str) -> String {
    if let Some(inner) = kind.strip_prefix("Nullable<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("{}?", udt(inner));
    }
    if let Some(inner) = kind.strip_prefix("Array<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("_{}", udt(inner));
    }
    kind.to_lowercase()
}

#[test]
fn the_schema_file_equals_the_database() {
    let database = Database::clone_template();
    assert_eq!(declared(), columns(&mut database.connect()));
}

#[test]
fn the_migrations_go_up_down_and_up_again() {
    let database = Database::empty();
    let mut conn = database.connect();
    let migrations = || FileBasedMigrations::from_path(MIGRATIONS).unwrap();
    conn.run_pending_migrations(migrations()).unwrap();
    let first = columns(&mut conn);
    conn.revert_all_migrations(migrations()).unwrap();
    assert_eq!(columns(&mut conn), BTreeMap::new());
    conn.run_pending_migrations(migrations()).unwrap();
    assert_eq!(columns(&mut conn), first);
}

#[derive(QueryableByName, Debug, PartialEq)]
struct Kept {
    #[diesel(sql_type = Text)]
    row: String,
}

#[test]
fn tenants_of_before_keep_their_state_and_get_no_limits() {
    let database = Database::empty();
    let mut conn = database.connect();
    let migrations = || FileBasedMigrations::from_path(MIGRATIONS).unwrap();
    while !columns(&mut conn).contains_key("second_factors.sealed") {
        conn.run_next_migration(migrations()).unwrap();
    }
    diesel::sql_query(
        "INSERT INTO tenants (name, slug, plan, is_active, created_at, updated_at) VALUES
             ('a', 'a', 'free', TRUE, now(), now()), ('b', 'b', 'pro', FALSE, now(), now())",
    )
    .execute(&mut conn)
    .unwrap();
    conn.run_pending_migrations(migrations()).unwrap();
    let kept = "SELECT slug || ' ' || plan || ' ' || is_active || ' ' || (suspended_at IS NOT NULL) AS row FROM tenants ORDER BY 1";
    let rows: Vec<Kept> = diesel::sql_query(kept).load(&mut conn).unwrap();
    let rows: Vec<_> = rows.into_iter().map(|one| one.row).collect();
    assert_eq!(rows, ["a unlimited true false", "b unlimited false true"]);
    let lies = diesel::sql_query("UPDATE tenants SET is_active = TRUE").execute(&mut conn);
    assert!(lies.unwrap_err().to_string().contains("tenants_is_active"));
}

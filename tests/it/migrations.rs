//! Migrations, and the table definitions of Diesel.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
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

/// Returns the columns that the code declares, with the database's names of their types.
fn declared() -> BTreeMap<String, String> {
    let source = concat!(include_str!("../../src/schema.rs"), include_str!("../../src/model/usage_log.rs"));
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
fn existing_tenants_keep_their_state_and_get_no_limits() {
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

#[test]
fn existing_deliveries_are_kept_and_attempts_under_way_become_due_again() {
    let database = Database::empty();
    let mut conn = database.connect();
    let migrations = || FileBasedMigrations::from_path(MIGRATIONS).unwrap();
    while !columns(&mut conn).contains_key("webhooks.probe_id") {
        conn.run_next_migration(migrations()).unwrap();
    }
    conn.batch_execute(
        "INSERT INTO events (id, tenant_id, type, payload, created_at)
         SELECT uuid_v7(now() - n * INTERVAL '1 day'), 1, 'a', '{}', now() FROM generate_series(0, 2) n;
         INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_made, attempts_max,
             next_attempt_at, lease_token, lease_until, last_error, created_at, finished_at)
         SELECT uuid_v7(now()), 1, id, 'a', 1, s.* FROM (SELECT id FROM events LIMIT 1) e, (VALUES
             ('pending', 0, 10, now(), NULL::uuid, NULL::timestamptz, NULL, now(), NULL::timestamptz),
             ('retrying', 10, 10, NULL, gen_random_uuid(), now(), 'answered 500', now(), NULL),
             ('failed', 10, 10, NULL, NULL, NULL, 'answered 500', now(), now()),
             ('delivered', 1, 10, NULL, NULL, NULL, NULL, now(), now())) s;
         INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, created_at)
         SELECT uuid_v7(now()), 1, id, event_id, 'a', 1, 10, '', now() FROM deliveries WHERE lease_token IS NOT NULL",
    )
    .unwrap();
    conn.run_pending_migrations(migrations()).unwrap();
    let rows = |conn: &mut PgConnection, sql: &str| {
        let rows: Vec<Kept> = diesel::sql_query(sql).load(conn).unwrap();
        rows.into_iter().map(|one| one.row).collect::<Vec<_>>()
    };
    let states = "SELECT state || ' ' || has_trouble AS row FROM deliveries ORDER BY 1";
    let kept = ["delivered false", "failed true", "pending false", "retrying true"];
    assert_eq!(rows(&mut conn, states), kept);
    let open = "SELECT attempts_made || ' ' || (next_attempt_at IS NOT NULL AND lease_token IS NULL) AS row
                FROM open_deliveries ORDER BY 1";
    assert_eq!(rows(&mut conn, open), ["0 true", "9 true"]);
    let lost = "SELECT error AS row FROM attempts WHERE finished_at IS NOT NULL";
    assert!(rows(&mut conn, lost)[0].contains("stopped before"));
    let parts = "SELECT tableoid::regclass::text AS row FROM events";
    assert_eq!(rows(&mut conn, parts), ["events_before"; 3]);

    // New rows of today go into the same partition, and rows of three days ahead into a partition of their day.
    conn.batch_execute(
        "INSERT INTO events (id, tenant_id, type, payload, created_at)
         SELECT uuid_v7(now() + n * INTERVAL '1 day'), 1, 'a', '{}', now() FROM generate_series(0, 3, 3) n",
    )
    .unwrap();
    assert_eq!(rows(&mut conn, parts).iter().filter(|part| *part == "events_before").count(), 4);
    while columns(&mut conn).contains_key("open_deliveries.tenant_id") {
        conn.revert_last_migration(migrations()).unwrap();
    }
    let states = "SELECT state || ' ' || (next_attempt_at IS NOT NULL) AS row FROM deliveries ORDER BY 1";
    assert_eq!(rows(&mut conn, states), ["delivered false", "failed false", "pending true", "retrying true"]);
    assert_eq!(rows(&mut conn, "SELECT count(*)::text AS row FROM events"), ["5"]);
}

#[test]
fn existing_last_uses_are_kept_by_migrating_up_and_down() {
    let database = Database::empty();
    let mut conn = database.connect();
    let migrations = || FileBasedMigrations::from_path(MIGRATIONS).unwrap();
    conn.run_pending_migrations(migrations()).unwrap();
    while columns(&mut conn).contains_key("key_uses.used_at") {
        conn.revert_last_migration(migrations()).unwrap();
    }
    conn.batch_execute(
        "INSERT INTO tenants (name, slug, plan, is_active, created_at, updated_at) VALUES ('a', 'a', 'pro', TRUE, now(), now());
         INSERT INTO api_keys (tenant_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest,
             scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at,
             updated_at, last_used_at, last_used_ip, deleted_at)
         SELECT 1, 'k' || n, 'live', 'pk' || n, 'sk', 'h', 'hmac-sha256', 'p', 'd' || n, '{}', 1, 1, '{}', FALSE, '{}', '{}', TRUE,
             '2026-01-01 12:00Z', now(), CASE n WHEN 1 THEN '2026-02-04 12:00Z'::timestamptz END, CASE n WHEN 1 THEN '::1' END,
             CASE n WHEN 3 THEN now() END
         FROM generate_series(1, 3) n",
    )
    .unwrap();
    conn.run_pending_migrations(migrations()).unwrap();
    let rows = |conn: &mut PgConnection, sql: &str| {
        let rows: Vec<Kept> = diesel::sql_query(sql).load(conn).unwrap();
        rows.into_iter().map(|one| one.row).collect::<Vec<_>>()
    };
    let uses =
        "SELECT concat_ws(' ', (used_at AT TIME ZONE 'UTC')::date, used_ip, idle_week, is_deleted) AS row FROM key_uses
                ORDER BY api_key_id";
    let expected = ["2026-02-04 ::1 2026-02-02 f", "1970-01-01 2025-12-29 f", "1970-01-01 2025-12-29 t"];
    assert_eq!(rows(&mut conn, uses), expected);
    while columns(&mut conn).contains_key("key_uses.used_at") {
        conn.revert_last_migration(migrations()).unwrap();
    }
    let before =
        "SELECT concat_ws(' ', (last_used_at AT TIME ZONE 'UTC')::date, last_used_ip) AS row FROM api_keys ORDER BY id";
    assert_eq!(rows(&mut conn, before), ["2026-02-04 ::1", "", ""]);
}

#[test]
fn existing_addresses_get_ascii_domains_unless_taken() {
    let database = Database::empty();
    let mut conn = database.connect();
    let migrations = || FileBasedMigrations::from_path(MIGRATIONS).unwrap();
    while !columns(&mut conn).contains_key("invitations.mail_state") {
        conn.run_next_migration(migrations()).unwrap();
    }

    let before = [
        "ada@b\u{fc}cher.example",
        "grace@bu\u{308}cher.example",
        "grace@xn--bcher-kva.example",
        "hedy@\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
        "ida@\u{3c0}\u{3b1}\u{3c1}\u{3ac}\u{3b4}\u{3b5}\u{3b9}\u{3b3}\u{3bc}\u{3b1}.\u{3b4}\u{3bf}\u{3ba}\u{3b9}\u{3bc}\u{3ae}",
        "jo@a\u{1f680}b.example",
        "<kim@plain.example>",
    ];
    for email in before {
        let add = "INSERT INTO users (email, name, password_hash, created_at, updated_at) VALUES ($1, 'x', 'x', now(), now())";
        diesel::sql_query(add).bind::<Text, _>(email).execute(&mut conn).unwrap();
    }
    conn.run_pending_migrations(migrations()).unwrap();
    let rows: Vec<Kept> = diesel::sql_query("SELECT email AS row FROM users ORDER BY id").load(&mut conn).unwrap();
    let rows: Vec<_> = rows.into_iter().map(|one| one.row).collect();
    // An address stays unchanged if another account has its ASCII form.
    let expected =
        before.map(
            |email| if email.contains("bu\u{308}") { email.to_owned() } else { gatepost::domain::email::lookup(email) },
        );
    assert_eq!(rows, expected);
}

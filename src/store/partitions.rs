//! Partitions of tables that grow with time: created ahead, and dropped when their data is too old.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Timestamptz};

use crate::domain::Result;

/// A table that is partitioned by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parted {
    /// Name of the table.
    pub table: &'static str,
    /// Length of a partition: `day` or `month`, in UTC.
    pub width: &'static str,
}

/// Single verifications, by day.
pub const USAGE_LOGS: Parted = Parted { table: "usage_logs", width: "day" };
/// Totals by minute, by day.
pub const USAGE_MINUTES: Parted = Parted { table: "usage_minutes", width: "day" };
/// Totals by hour, by month.
pub const USAGE_HOURS: Parted = Parted { table: "usage_hours", width: "month" };
/// Histogram of latencies, by month.
pub const USAGE_LATENCIES: Parted = Parted { table: "usage_latencies", width: "month" };

/// All tables of usage.
pub const USAGE: [Parted; 4] = [USAGE_LOGS, USAGE_MINUTES, USAGE_HOURS, USAGE_LATENCIES];

/// Creates the missing partitions of these times. The caller must own the tables.
pub fn make(conn: &mut PgConnection, parted: &[Parted], times: &[DateTime<Utc>]) -> Result<()> {
    diesel::sql_query("SELECT make_partitions(name, width, $3) FROM unnest($1, $2) AS parted (name, width)")
        .bind::<Array<Text>, _>(parted.iter().map(|one| one.table).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(parted.iter().map(|one| one.width).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(times)
        .execute(conn)?;
    Ok(())
}

/// Tables that are partitioned by the day in their UUIDv7, with referring tables first.
pub const BY_ID: [&str; 3] = ["attempts", "deliveries", "events"];

/// Creates partitions like [`make`], for tables of [`BY_ID`]. Without its partition no event of a day can be
/// published, so they are created at each start and every ten minutes. Writers of usage create their own.
pub fn make_by_id(conn: &mut PgConnection, times: &[DateTime<Utc>]) -> Result<()> {
    diesel::sql_query("SELECT make_id_partitions(parent, $2) FROM unnest($1) AS parent")
        .bind::<Array<Text>, _>(BY_ID.to_vec())
        .bind::<Array<Timestamptz>, _>(times)
        .execute(conn)?;
    Ok(())
}

/// SQL of the partitions whose bounds are UUIDv7s; `begins` is null for the partition without a lower bound.
const BOUNDS_BY_ID: &str = "pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     CROSS JOIN LATERAL (SELECT pg_get_expr(c.relpartbound, c.oid) AS says) bound
     CROSS JOIN LATERAL (
         SELECT substring(says FROM 'FROM \\(''([^'']+)''\\)')::uuid AS begins,
             substring(says FROM 'TO \\(''([^'']+)''\\)')::uuid AS ends) part";

/// Returns the tables of [`BY_ID`] that have no partition for this time.
pub fn missing_by_id(conn: &mut PgConnection, at: DateTime<Utc>) -> QueryResult<Vec<String>> {
    let query = format!(
        "SELECT parent AS name FROM unnest($1) AS parent WHERE NOT EXISTS (
             SELECT FROM {BOUNDS_BY_ID}
             WHERE i.inhparent = parent::regclass AND (begins IS NULL OR begins <= uuid_floor($2)) AND uuid_floor($2) < ends)"
    );
    let found: Vec<Partition> =
        diesel::sql_query(query).bind::<Array<Text>, _>(BY_ID.to_vec()).bind::<Timestamptz, _>(at).load(conn)?;
    Ok(found.into_iter().map(|one| one.name).collect())
}

/// Returns `now` and the same time on each of the next `days` days.
pub fn ahead(now: DateTime<Utc>, days: i64) -> Vec<DateTime<Utc>> {
    (0..=days).map(|day| now + TimeDelta::days(day)).collect()
}

#[derive(QueryableByName)]
struct Partition {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Drops the partitions that end before this time, and returns their number. It waits one second for readers and
/// writers of the table, then leaves the rest to the next round.
pub fn drop_before(conn: &mut PgConnection, parted: Parted, before: DateTime<Utc>) -> Result<usize> {
    let old: Vec<Partition> = diesel::sql_query(
        "SELECT c.relname::text AS name
         FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         CROSS JOIN LATERAL (SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''([^'']+)''\\)')::timestamptz AS ends) bound
         WHERE i.inhparent = $1::regclass AND bound.ends <= $2
         ORDER BY 1",
    )
    .bind::<Text, _>(parted.table)
    .bind::<Timestamptz, _>(before)
    .load(conn)?;
    drop_all(conn, &old)
}

/// Drops the partitions of a table of [`BY_ID`] that end before this time and hold no open delivery or its event. Rows
/// of the partitions that stay are deleted one by one.
pub fn drop_by_id(conn: &mut PgConnection, table: &str, before: DateTime<Utc>) -> Result<usize> {
    let old: Vec<Partition> = diesel::sql_query(format!(
        "SELECT c.relname::text AS name FROM {BOUNDS_BY_ID}
         WHERE i.inhparent = $1::regclass AND ends <= uuid_floor(least($2, now()))
             AND NOT EXISTS (
                 SELECT FROM open_deliveries o
                 CROSS JOIN LATERAL (SELECT CASE $1 WHEN 'events' THEN o.event_id ELSE o.delivery_id END AS id) held
                 WHERE (begins IS NULL OR begins <= held.id) AND held.id < ends)
         ORDER BY 1"
    ))
    .bind::<Text, _>(table)
    .bind::<Timestamptz, _>(before)
    .load(conn)?;
    drop_all(conn, &old)
}

fn drop_all(conn: &mut PgConnection, old: &[Partition]) -> Result<usize> {
    // DROP TABLE locks the parent table: a longer wait would also block every statement that queues behind it.
    diesel::sql_query("SET LOCAL lock_timeout = '1s'").execute(conn)?;
    for partition in old {
        // The functions that create partitions name them with letters, digits and underscores only.
        diesel::sql_query(format!("DROP TABLE {}", partition.name)).execute(conn)?;
    }
    Ok(old.len())
}

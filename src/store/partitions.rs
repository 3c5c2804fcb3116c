//! The partitions of tables that grow with time: made ahead, and dropped when nobody keeps them any more.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Timestamptz};

use crate::domain::Result;

/// A table that is cut by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parted {
    pub table: &'static str,
    /// `day` or `month`, in UTC.
    pub width: &'static str,
}

pub const USAGE_LOGS: Parted = Parted { table: "usage_logs", width: "day" };
pub const USAGE_MINUTES: Parted = Parted { table: "usage_minutes", width: "day" };
pub const USAGE_HOURS: Parted = Parted { table: "usage_hours", width: "month" };
pub const USAGE_LATENCIES: Parted = Parted { table: "usage_latencies", width: "month" };

pub const USAGE: [Parted; 4] = [USAGE_LOGS, USAGE_MINUTES, USAGE_HOURS, USAGE_LATENCIES];

/// Makes the partitions in which these times lie, where they are missing. For the owner of the tables.
pub fn make(conn: &mut PgConnection, parted: &[Parted], times: &[DateTime<Utc>]) -> Result<()> {
    diesel::sql_query("SELECT make_partitions(name, width, $3) FROM unnest($1, $2) AS parted (name, width)")
        .bind::<Array<Text>, _>(parted.iter().map(|one| one.table).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(parted.iter().map(|one| one.width).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(times)
        .execute(conn)?;
    Ok(())
}

/// Tables that are cut by the day in their UUIDv7, those first that refer to others.
pub const BY_ID: [&str; 3] = ["attempts", "deliveries", "events"];

/// Like [`make`], for tables of [`BY_ID`]. Nothing can be published into a day that has none: they are made at each start
/// and every ten minutes, where usage makes its own when it is written.
pub fn make_by_id(conn: &mut PgConnection, times: &[DateTime<Utc>]) -> Result<()> {
    diesel::sql_query("SELECT make_id_partitions(parent, $2) FROM unnest($1) AS parent")
        .bind::<Array<Text>, _>(BY_ID.to_vec())
        .bind::<Array<Timestamptz>, _>(times)
        .execute(conn)?;
    Ok(())
}

/// Partitions whose bounds are UUIDv7s; `begins` is null for the one without a lower bound.
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

/// Today and so many days to come.
pub fn ahead(now: DateTime<Utc>, days: i64) -> Vec<DateTime<Utc>> {
    (0..=days).map(|day| now + TimeDelta::days(day)).collect()
}

#[derive(QueryableByName)]
struct Partition {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Drops the partitions that end before this time, and tells how many they were. Whoever reads or writes the table
/// just then is waited for a second, no longer: the next round tries again.
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

/// Drops the partitions of a table of [`BY_ID`] that end before this time and hold nothing that is still open. What of
/// them stays is deleted row by row.
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
    diesel::sql_query("SET LOCAL lock_timeout = '1s'").execute(conn)?;
    for partition in old {
        // The names come from the functions that make partitions: letters, digits and underscores.
        diesel::sql_query(format!("DROP TABLE {}", partition.name)).execute(conn)?;
    }
    Ok(old.len())
}

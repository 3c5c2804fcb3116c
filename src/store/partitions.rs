//! The partitions of tables that grow with time: made ahead, and dropped when nobody keeps them any more.

use chrono::{DateTime, Utc};
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

#[derive(QueryableByName)]
struct Partition {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Drops the partitions that end before this time, and tells how many they were. Whoever reads or writes the table
/// just then is waited for a second, no longer: the next round tries again.
pub fn drop_before(conn: &mut PgConnection, parted: Parted, before: DateTime<Utc>) -> Result<usize> {
    diesel::sql_query("SET LOCAL lock_timeout = '1s'").execute(conn)?;
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
    for partition in &old {
        // The name comes from `make_partitions`: letters, digits and underscores.
        diesel::sql_query(format!("DROP TABLE {}", partition.name)).execute(conn)?;
    }
    Ok(old.len())
}

//! Queries on `event_months`: how many events a tenant publishes in a month, kept if its plan limits them.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date};

use super::cached_sql::cached_sql;
use crate::domain::{Result, TenantId};
use crate::schema::event_months;

/// Returns the first day of a time's month, in UTC.
pub fn month(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

/// A tenant whose plan limits its events.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Limited {
    /// Id of the tenant.
    #[diesel(sql_type = BigInt)]
    pub tenant: TenantId,
    /// Maximum number of events in a month.
    #[diesel(sql_type = BigInt)]
    pub most: i64,
}

/// Returns those of these tenants whose plan limits their events, ordered by id.
pub fn limited(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<Vec<Limited>> {
    let query = cached_sql(
        "SELECT t.id AS tenant, p.max_events_per_month AS most FROM tenants t JOIN plans p ON p.name = t.plan
         WHERE t.id = ANY ($1) AND p.max_events_per_month IS NOT NULL ORDER BY t.id",
    );
    Ok(query.bind::<Array<BigInt>, _>(tenants.iter().map(|id| id.0).collect::<Vec<_>>()).load(conn)?)
}

/// Counts `count` more events if all of them fit into the limit. Returns false, and counts none, if they do not. A
/// month's first count includes the events that were published before it.
pub fn take(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    Ok(add(conn, of, count, now)? || (begin(conn, of, now)? && add(conn, of, count, now)?))
}

/// Counts like [`take`], for events that this transaction has written: the month's first count includes them already.
pub fn take_written(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    Ok(add(conn, of, count, now)? || (begin(conn, of, now)? && add(conn, of, 0, now)?))
}

/// Creates the month's row, starting from the events written in it. Returns false if the row exists.
fn begin(conn: &mut PgConnection, of: Limited, now: DateTime<Utc>) -> Result<bool> {
    let begun = cached_sql(
        "INSERT INTO event_months (tenant_id, month, total)
         SELECT $1, $2, (SELECT count(*) FROM events
             WHERE tenant_id = $1 AND id >= uuid_floor($2::timestamp AT TIME ZONE 'UTC'))
         ON CONFLICT DO NOTHING",
    );
    Ok(begun.bind::<BigInt, _>(of.tenant).bind::<Date, _>(month(now)).execute(conn)? == 1)
}

/// Adds to the month's count within the limit. Returns false if there is no row or no room.
fn add(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    let query = cached_sql(
        "UPDATE event_months SET total = total + $3 WHERE tenant_id = $1 AND month = $2 AND total + $3 <= $4",
    );
    let bound = query.bind::<BigInt, _>(of.tenant).bind::<Date, _>(month(now));
    Ok(bound.bind::<BigInt, _>(count).bind::<BigInt, _>(of.most).execute(conn)? == 1)
}

/// Returns the count of the current month, if one is kept.
pub fn find(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<Option<i64>> {
    let found = event_months::table.find((tenant.0, month(now))).select(event_months::total);
    Ok(found.first(conn).optional()?)
}

/// Deletes up to `limit` counts of months before a time, and returns their number.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM event_months WHERE ctid = ANY (ARRAY(SELECT ctid FROM event_months WHERE month < $1 LIMIT $2))",
    );
    Ok(query.bind::<Date, _>(month(before)).bind::<BigInt, _>(limit).execute(conn)?)
}

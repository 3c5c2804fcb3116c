//! Counts of the events that tenants publish in a month, where their plan limits them.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date};

use super::kept::kept;
use crate::domain::{Result, TenantId};
use crate::schema::event_months;

/// The month of a moment, by its first day in UTC.
pub fn month(at: DateTime<Utc>) -> NaiveDate {
    let day = at.date_naive();
    day.with_day(1).unwrap_or(day)
}

/// A tenant whose plan limits its events.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Limited {
    #[diesel(sql_type = BigInt)]
    pub tenant: TenantId,
    /// In a month.
    #[diesel(sql_type = BigInt)]
    pub most: i64,
}

/// Those of these tenants whose plan limits their events, by their ids.
pub fn limited(conn: &mut PgConnection, tenants: &[TenantId]) -> Result<Vec<Limited>> {
    let query = kept(
        "SELECT t.id AS tenant, p.max_events_per_month AS most FROM tenants t JOIN plans p ON p.name = t.plan
         WHERE t.id = ANY ($1) AND p.max_events_per_month IS NOT NULL ORDER BY t.id",
    );
    Ok(query.bind::<Array<BigInt>, _>(tenants.iter().map(|id| id.0).collect::<Vec<_>>()).load(conn)?)
}

/// Counts so many more, if there is room for all of them; whether there was. The first ones of a month, or under a plan
/// that limits them, find what was published before them counted.
pub fn take(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    Ok(add(conn, of, count, now)? || (begin(conn, of, now)? && add(conn, of, count, now)?))
}

/// Like [`take`], for events that this transaction has written: the count that a month begins with has them already.
pub fn take_written(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    Ok(add(conn, of, count, now)? || (begin(conn, of, now)? && add(conn, of, 0, now)?))
}

/// Begins a month with the events that were written in it. False if it was begun before.
fn begin(conn: &mut PgConnection, of: Limited, now: DateTime<Utc>) -> Result<bool> {
    let begun = kept(
        "INSERT INTO event_months (tenant_id, month, total)
         SELECT $1, $2, (SELECT count(*) FROM events
             WHERE tenant_id = $1 AND id >= uuid_floor($2::timestamp AT TIME ZONE 'UTC'))
         ON CONFLICT DO NOTHING",
    );
    Ok(begun.bind::<BigInt, _>(of.tenant).bind::<Date, _>(month(now)).execute(conn)? == 1)
}

fn add(conn: &mut PgConnection, of: Limited, count: i64, now: DateTime<Utc>) -> Result<bool> {
    let query =
        kept("UPDATE event_months SET total = total + $3 WHERE tenant_id = $1 AND month = $2 AND total + $3 <= $4");
    let bound = query.bind::<BigInt, _>(of.tenant).bind::<Date, _>(month(now));
    Ok(bound.bind::<BigInt, _>(count).bind::<BigInt, _>(of.most).execute(conn)? == 1)
}

/// How many of this month are counted.
pub fn find(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<Option<i64>> {
    let found = event_months::table.find((tenant.0, month(now))).select(event_months::total);
    Ok(found.first(conn).optional()?)
}

/// Deletes up to `limit` of months before a time, and tells how many.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM event_months WHERE ctid = ANY (ARRAY(SELECT ctid FROM event_months WHERE month < $1 LIMIT $2))",
    );
    Ok(query.bind::<Date, _>(month(before)).bind::<BigInt, _>(limit).execute(conn)?)
}

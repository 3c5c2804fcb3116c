//! Queries on `audit_entries`, which are only ever added.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::Result;
use crate::model::NewAuditEntry;
use crate::schema::audit_entries;

pub fn insert(conn: &mut PgConnection, entry: &NewAuditEntry) -> Result<()> {
    diesel::insert_into(audit_entries::table).values(entry).execute(conn)?;
    Ok(())
}

/// In one statement; Postgres takes 65,535 values in one, which is some 5,900 entries.
pub fn insert_all(conn: &mut PgConnection, entries: &[NewAuditEntry]) -> Result<()> {
    diesel::insert_into(audit_entries::table).values(entries).execute(conn)?;
    Ok(())
}

/// Deletes up to `limit` that are older than `before`, and tells how many.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let old = audit_entries::table.filter(audit_entries::created_at.lt(before)).order(audit_entries::id).limit(limit);
    let old = old.select(audit_entries::id).load::<i64>(conn)?;
    Ok(diesel::delete(audit_entries::table.filter(audit_entries::id.eq_any(old))).execute(conn)?)
}

//! Queries on `audit_entries`, which are only ever added.

use diesel::prelude::*;

use crate::domain::Result;
use crate::model::NewAuditEntry;
use crate::schema::audit_entries;

pub fn insert(conn: &mut PgConnection, entry: &NewAuditEntry) -> Result<()> {
    diesel::insert_into(audit_entries::table).values(entry).execute(conn)?;
    Ok(())
}

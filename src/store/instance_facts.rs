//! Queries on `instance_facts`: values that describe the instance as a whole.

use diesel::prelude::*;

use crate::domain::Result;
use crate::schema::instance_facts;

/// Finds the value of a name.
pub fn find(conn: &mut PgConnection, name: &str) -> Result<Option<String>> {
    Ok(instance_facts::table.find(name).select(instance_facts::value).first(conn).optional()?)
}

/// Sets the value of a name.
pub fn upsert(conn: &mut PgConnection, name: &str, value: &str) -> Result<()> {
    diesel::insert_into(instance_facts::table)
        .values((instance_facts::name.eq(name), instance_facts::value.eq(value)))
        .on_conflict(instance_facts::name)
        .do_update()
        .set(instance_facts::value.eq(value))
        .execute(conn)?;
    Ok(())
}

/// Sets the value of a name that has none.
pub fn insert_unless_known(conn: &mut PgConnection, name: &str, value: &str) -> Result<()> {
    diesel::insert_into(instance_facts::table)
        .values((instance_facts::name.eq(name), instance_facts::value.eq(value)))
        .on_conflict_do_nothing()
        .execute(conn)?;
    Ok(())
}

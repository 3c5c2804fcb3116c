//! Query for the scopes that a tenant's keys have.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};

use super::search::by_order;
use crate::domain::{Result, TenantId};

#[derive(QueryableByName)]
struct Given {
    #[diesel(sql_type = Text)]
    scope: String,
}

/// Returns the scopes that the newest thousand keys have most often, in alphabetical order, without those in `but`.
pub fn scopes_given(conn: &mut PgConnection, tenant: TenantId, but: &[&str], limit: i64) -> Result<Vec<String>> {
    let query = diesel::sql_query(
        "SELECT scope FROM (
             SELECT scope, count(*) AS keys FROM (
                 SELECT scopes FROM api_keys WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id DESC LIMIT 1000
             ) newest CROSS JOIN unnest(newest.scopes) AS scope
             WHERE scope <> ALL ($2) GROUP BY scope ORDER BY keys DESC, scope LIMIT $3
         ) most ORDER BY scope COLLATE \"C\"",
    );
    let query = query.bind::<BigInt, _>(tenant.0).bind::<Array<Text>, _>(but).bind::<BigInt, _>(limit);
    let given: Vec<Given> = by_order(conn, |conn| query.load(conn))?;
    Ok(given.into_iter().map(|given| given.scope).collect())
}

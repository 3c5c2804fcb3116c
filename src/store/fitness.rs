//! Checks that a database can serve requests, and repairs as far as the database's user may.

use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel::{Connection, QueryResult, QueryableByName, RunQueryDsl};

use super::{Scope, migrations, partitions, tenant_role};
use crate::domain::{Clock, EventId, TenantId};

/// Reason why a database can't be used, in one sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

impl Unfit {
    pub fn new(sentence: impl Into<String>) -> Self {
        // Errors of the database can span several lines.
        let sentence: String = sentence.into();
        Self(sentence.lines().map(str::trim).collect::<Vec<_>>().join(" "))
    }
}

impl From<DieselError> for Unfit {
    fn from(error: DieselError) -> Self {
        Self::new(format!("the database can't answer: {error}"))
    }
}

/// Checks everything that requests need: all migrations, the role `gatepost_app` and its rights, and today's
/// partitions. It also writes an event as a tenant, reads it, and rolls back.
///
/// # Errors
/// Names what is wrong and what to do about it.
pub fn check(conn: &mut PgConnection) -> Result<(), Unfit> {
    check_owner(conn)?;
    if !migrations::is_current(conn)? {
        return Err(Unfit::new("the database lacks migrations of this version: run `gatepost migrate`"));
    }
    check_role(conn)?;
    let missing = tenant_role::missing_privileges(conn)?;
    if let Some(first) = missing.first() {
        let count = missing.len();
        return Err(Unfit::new(format!(
            "the role gatepost_app lacks rights ({count} statements, the first is `{first}`): run `gatepost migrate`"
        )));
    }
    let missing = partitions::missing_by_id(conn, Clock::default().now())?;
    if !missing.is_empty() {
        let tables = missing.join(", ");
        return Err(Unfit::new(format!("{tables} have no partition for today: run `gatepost migrate`")));
    }
    try_tenant_work(conn)
        .map_err(|error| Unfit::new(format!("a tenant's request would fail, the database says: {error}")))
}

/// Checks like [`check`], and repairs what it can for the next time. Until then the server is not ready and gets no
/// requests that would trigger the repair.
pub fn check_then_repair(conn: &mut PgConnection) -> Result<(), Unfit> {
    let checked = check(conn);
    if let Err(unfit) = &checked {
        match repair(conn) {
            Ok(true) => tracing::warn!("{unfit}: it is repaired"),
            Ok(false) => {}
            Err(refused) => tracing::debug!("{refused}"),
        }
    }
    checked
}

/// Checks that the user can act as the role `gatepost_app`, under which tenants' work runs.
pub fn check_role(conn: &mut PgConnection) -> Result<(), Unfit> {
    let missing = tenant_role::missing_membership(conn)?;
    if missing.is_empty() {
        return Ok(());
    }
    let sql = missing.join("; ");
    Err(Unfit::new(format!(
        "the database's user can't act as the role gatepost_app, which every tenant's request needs: \
         run `gatepost migrate`; if it may not create or grant the role, let an administrator of the database run `{sql};`"
    )))
}

#[derive(QueryableByName)]
struct Owner {
    #[diesel(sql_type = Text)]
    owner: String,
    #[diesel(sql_type = Text)]
    user: String,
}

/// Checks that the tables, if any, belong to the user: only their owner bypasses row-level security.
pub fn check_owner(conn: &mut PgConnection) -> Result<(), Unfit> {
    let query = "SELECT pg_get_userbyid(relowner)::text AS owner, current_user::text AS \"user\"
        FROM pg_class WHERE oid IN (to_regclass('tenants'), to_regclass('events')) AND NOT pg_has_role(relowner, 'USAGE')";
    let others: Vec<Owner> = diesel::sql_query(query).load(conn)?;
    others.first().map_or(Ok(()), |Owner { owner, user }| {
        Err(Unfit::new(format!(
            "the tables belong to {owner}, and the database's user is {user}: connect as {owner}, \
             or restore the dump as {user} with `pg_restore --no-owner`"
        )))
    })
}

/// Writes and reads an event as a tenant that does not exist, then rolls back.
fn try_tenant_work(conn: &mut PgConnection) -> QueryResult<()> {
    let tried = conn.transaction(|conn| {
        Scope::Tenant(TenantId(0)).enter(conn)?;
        let write = "INSERT INTO events (id, tenant_id, type, payload, created_at)
            VALUES ($1, current_tenant(), 'check', '{}', now()) RETURNING id";
        diesel::sql_query(write).bind::<SqlUuid, _>(EventId::generate()).execute(conn)?;
        Err::<(), _>(DieselError::RollbackTransaction)
    });
    match tried {
        Err(DieselError::RollbackTransaction) => Ok(()),
        other => other,
    }
}

/// Creates what can be missing after a restore or a long downtime: the role, its rights, and the partitions of today
/// and tomorrow. Returns true if anything was missing.
///
/// # Errors
/// Names what is still wrong and what to do about it.
pub fn repair(conn: &mut PgConnection) -> Result<bool, Unfit> {
    let had_no_rights = tenant_role::ensure(conn).map_err(|error| explain(conn, &error))?;
    let now = Clock::default().now();
    let had_no_partition = !partitions::missing_by_id(conn, now)?.is_empty();
    let made = partitions::make_by_id(conn, &partitions::ahead(now, 1));
    made.map_err(|error| explain(conn, std::error::Error::source(&error).unwrap_or(&error)))?;
    Ok(had_no_rights || had_no_partition)
}

/// Explains why the database refused a repair: wrong owner, a role that only an administrator can change, or its own
/// words.
pub fn explain(conn: &mut PgConnection, error: &dyn std::error::Error) -> Unfit {
    let known = check_owner(conn).and_then(|()| check_role(conn));
    known.err().unwrap_or_else(|| Unfit::new(format!("the database can't be repaired, it says: {error}")))
}

/// Checks that the next start may create the role, without creating it.
pub fn rehearse(conn: &mut PgConnection) -> Result<(), Unfit> {
    let tried = conn.transaction(|conn| {
        tenant_role::ensure(conn)?;
        Err::<(), _>(DieselError::RollbackTransaction)
    });
    match tried {
        Ok(()) | Err(DieselError::RollbackTransaction) => Ok(()),
        Err(_) => check_role(conn),
    }
}

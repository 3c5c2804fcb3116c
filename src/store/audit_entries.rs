//! Queries on `audit_entries`, which are only ever added, and on the state of their chains.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};

use super::Scope;
use crate::domain::email;
use crate::domain::page::Paging;
use crate::domain::{AuditEntryId, Result, TenantId};
use crate::model::{AuditChain, AuditEntry, NewAuditEntry};
use crate::schema::{audit_chains, audit_entries};

/// Filter of the audit log.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// True: only entries of the instance, none of a tenant.
    pub is_of_instance: bool,
    /// Actor, exactly.
    pub actor: Option<String>,
    /// Action, exactly.
    pub action: Option<String>,
    /// Target, exactly.
    pub target: Option<String>,
    /// Earliest time of the entry (UTC), inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of the entry (UTC), exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// Adds one entry.
pub fn insert(conn: &mut PgConnection, entry: &NewAuditEntry) -> Result<()> {
    diesel::insert_into(audit_entries::table).values(entry).execute(conn)?;
    Ok(())
}

/// Adds entries in one statement. Postgres allows 65,535 values a statement, which is some 5,900 entries.
pub fn insert_all(conn: &mut PgConnection, entries: &[NewAuditEntry]) -> Result<()> {
    diesel::insert_into(audit_entries::table).values(entries).execute(conn)?;
    Ok(())
}

/// Lists entries of a scope, newest first; oldest first if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AuditFilter,
    paging: &Paging<AuditEntryId>,
) -> Result<Vec<AuditEntry>> {
    let mut query = audit_entries::table.select(AuditEntry::as_select()).limit(paging.size.plus_one()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(audit_entries::tenant_id.eq(tenant));
    } else if filter.is_of_instance {
        query = query.filter(audit_entries::tenant_id.is_null());
    }
    if let Some(actor) = &filter.actor {
        // Addresses are stored with ASCII domains. Other actors, such as the console, are no addresses.
        let actor = if actor.contains('@') { email::search(actor) } else { actor.clone() };
        query = query.filter(audit_entries::actor.eq(actor));
    }
    if let Some(action) = &filter.action {
        query = query.filter(audit_entries::action.eq(action.clone()));
    }
    if let Some(target) = &filter.target {
        query = query.filter(audit_entries::target.eq(target.clone()));
    }
    if let Some(since) = filter.since {
        query = query.filter(audit_entries::created_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(audit_entries::created_at.lt(until));
    }
    if let Some(before) = paging.before {
        query = query.filter(audit_entries::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(audit_entries::id.gt(after)).order(audit_entries::id.asc()),
        None => query.order(audit_entries::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Returns the state of every chain, ordered by tenant id; the instance's chain comes first.
pub fn chains(conn: &mut PgConnection) -> Result<Vec<AuditChain>> {
    Ok(AuditChain::query().order(audit_chains::tenant_id).load(conn)?)
}

/// Returns the chains that entries name. This finds a chain whose own row was removed.
pub fn chains_of_entries(conn: &mut PgConnection) -> Result<Vec<TenantId>> {
    let chain = sql::<BigInt>("coalesce(tenant_id, 0)");
    Ok(audit_entries::table.select(chain).distinct().load(conn)?)
}

/// Returns the links of a chain behind `seq`, in their order, with the details as the exact text that was hashed.
pub fn links(conn: &mut PgConnection, chain: TenantId, seq: i64, limit: i64) -> Result<Vec<(AuditEntry, String)>> {
    let of_the_chain = sql::<BigInt>("coalesce(tenant_id, 0)").eq(chain);
    let found = audit_entries::table.filter(of_the_chain).filter(audit_entries::seq.gt(seq)).order(audit_entries::seq);
    Ok(found.limit(limit).select((AuditEntry::as_select(), sql::<Text>("details::text"))).load(conn)?)
}

/// Deletes up to `limit` entries that are older than `before`, and returns their number. A chain loses only its
/// beginning, and its row keeps the hash from which it continues.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let deleted = diesel::sql_query(
        "WITH chains AS (
             -- Clocks can go back: an entry is deleted only if no entry that stays stands before it in the chain.
             SELECT coalesce(tenant_id, 0) AS chain, min(seq) FILTER (WHERE created_at >= $1) AS first_kept
             FROM audit_entries GROUP BY 1
         ), old AS (
             SELECT id FROM audit_entries JOIN chains ON coalesce(tenant_id, 0) = chain
             WHERE created_at < $1 AND (first_kept IS NULL OR seq < first_kept) ORDER BY chain, seq LIMIT $2
         ), deleted AS (
             DELETE FROM audit_entries WHERE id IN (SELECT id FROM old) RETURNING coalesce(tenant_id, 0) AS chain, seq, hash
         ), moved AS (
             UPDATE audit_chains SET pruned_seq = last.seq, pruned_hash = last.hash
             FROM (SELECT DISTINCT ON (chain) chain, seq, hash FROM deleted ORDER BY chain, seq DESC) AS last
             WHERE tenant_id = chain
         )
         SELECT count(*) AS total FROM deleted",
    )
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(limit)
    .get_result::<Total>(conn)?;
    Ok(usize::try_from(deleted.total).unwrap_or(usize::MAX))
}

#[derive(QueryableByName)]
struct Total {
    #[diesel(sql_type = BigInt)]
    total: i64,
}

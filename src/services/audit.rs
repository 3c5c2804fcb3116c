//! Audit log: entries are written in the transaction of the change, and read by admins.

pub mod chain;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::{Map, Value};

use crate::domain::page::{Page, PageSize, Paging};
use crate::domain::{Actor, AuditEntryId, Result, TenantId};
use crate::model::{AuditEntry, NewAuditEntry};
pub use crate::store::audit_entries::AuditFilter;
use crate::store::{self, Scope, Tx};

/// Entries per read of an export.
const BATCH: i64 = PageSize::MAX;

/// Audited act: an action (`api_key.minted`), its target (`api_key:7`), and details without secrets.
#[derive(Debug, Clone)]
pub struct AuditedAct {
    action: &'static str,
    target: String,
    details: Map<String, Value>,
}

impl AuditedAct {
    pub fn new(action: &'static str, target: impl Into<String>) -> Self {
        Self { action, target: target.into(), details: Map::new() }
    }

    /// Adds the fields that differ between two objects, as `before` and `after`.
    #[must_use]
    pub fn changing(mut self, before: Value, after: Value) -> Self {
        if let (Value::Object(mut before), Value::Object(mut after)) = (before, after) {
            let same: Vec<String> = before
                .iter()
                .filter(|(name, value)| after.get(*name) == Some(*value))
                .map(|(name, _)| name.clone())
                .collect();
            for name in same {
                before.remove(&name);
                after.remove(&name);
            }
            self.details.insert("before".to_owned(), before.into());
            self.details.insert("after".to_owned(), after.into());
        }
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Records an act in the actor's tenant.
pub fn record(tx: &mut Tx<'_>, actor: &Actor, deed: AuditedAct) -> Result<()> {
    let now = tx.now;
    store::audit_entries::insert(tx, &entry(actor, deed, now))
}

/// Records several acts of one call, an entry each.
pub fn record_all(tx: &mut Tx<'_>, actor: &Actor, deeds: Vec<AuditedAct>) -> Result<()> {
    let now = tx.now;
    let entries: Vec<_> = deeds.into_iter().map(|deed| entry(actor, deed, now)).collect();
    store::audit_entries::insert_all(tx, &entries)
}

fn entry(actor: &Actor, deed: AuditedAct, now: DateTime<Utc>) -> NewAuditEntry {
    NewAuditEntry {
        tenant_id: Some(actor.tenant),
        user_id: actor.user,
        actor: actor.label.clone(),
        via: actor.via,
        action: deed.action,
        target: deed.target,
        details: Value::Object(deed.details),
        ip: actor.ip.map(|ip| ip.to_string()),
        request_id: actor.request_id.clone(),
        created_at: now,
    }
}

/// Records an act on the instance itself, or an operator's act on a tenant.
pub fn record_for_instance(
    tx: &mut Tx<'_>,
    who: &super::Operator,
    tenant: Option<TenantId>,
    deed: AuditedAct,
) -> Result<()> {
    let now = tx.now;
    let entry = NewAuditEntry {
        tenant_id: tenant,
        user_id: who.user,
        actor: who.label.clone(),
        via: who.via,
        action: deed.action,
        target: deed.target,
        details: Value::Object(deed.details),
        ip: who.ip.map(|ip| ip.to_string()),
        request_id: who.request_id.clone(),
        created_at: now,
    };
    store::audit_entries::insert(tx, &entry)
}

/// Returns one page of entries, newest first. The caller has checked that the actor may read the scope.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AuditFilter,
    paging: &Paging<AuditEntryId>,
) -> Result<Page<AuditEntry, AuditEntryId>> {
    let rows = store::audit_entries::list(conn, scope, filter, paging)?;
    Ok(Page::cut(rows, paging, |entry| entry.id))
}

/// Returns the next entries of an export, newest first, and the cursor for the rest. `None` ends the export.
pub fn export(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AuditFilter,
    before: Option<AuditEntryId>,
) -> Result<(Vec<AuditEntry>, Option<AuditEntryId>)> {
    let paging = Paging { size: PageSize::new(BATCH).unwrap_or_default(), before, ..Paging::default() };
    let page = list(conn, scope, filter, &paging)?;
    Ok((page.rows, page.older))
}

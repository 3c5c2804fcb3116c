//! The audit log: written in the transaction of the change that it tells of.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::{Map, Value};

use crate::domain::{Actor, Result, TenantId};
use crate::model::NewAuditEntry;
use crate::store;

/// What somebody did: an action (`api_key.minted`), its target (`api_key:7`), and details without secrets.
#[derive(Debug, Clone)]
pub struct Deed {
    action: &'static str,
    target: String,
    details: Map<String, Value>,
}

impl Deed {
    pub fn new(action: &'static str, target: impl Into<String>) -> Self {
        Self { action, target: target.into(), details: Map::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// Notes what an actor did in their tenant.
pub fn record(conn: &mut PgConnection, actor: &Actor, deed: Deed, now: DateTime<Utc>) -> Result<()> {
    store::audit_entries::insert(conn, &entry(actor, deed, now))
}

/// Notes several deeds of one act, an entry each.
pub fn record_all(conn: &mut PgConnection, actor: &Actor, deeds: Vec<Deed>, now: DateTime<Utc>) -> Result<()> {
    let entries: Vec<_> = deeds.into_iter().map(|deed| entry(actor, deed, now)).collect();
    store::audit_entries::insert_all(conn, &entries)
}

fn entry(actor: &Actor, deed: Deed, now: DateTime<Utc>) -> NewAuditEntry {
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

/// Notes what somebody did to the instance itself, or to a tenant as its operator.
pub fn record_for_instance(
    conn: &mut PgConnection,
    who: &super::Operator,
    tenant: Option<TenantId>,
    deed: Deed,
    now: DateTime<Utc>,
) -> Result<()> {
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
    store::audit_entries::insert(conn, &entry)
}

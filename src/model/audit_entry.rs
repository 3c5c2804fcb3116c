//! A row of `audit_entries`: who changed what.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::{AuditEntryId, TenantId, UserId, Via};
use crate::schema::{audit_chains, audit_entries};

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = audit_entries)]
pub struct AuditEntry {
    pub id: AuditEntryId,
    /// None: of the instance itself.
    pub tenant_id: Option<TenantId>,
    pub user_id: Option<UserId>,
    pub actor: String,
    pub via: Via,
    pub action: String,
    pub target: String,
    pub details: Value,
    pub ip: Option<String>,
    pub request_id: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Its place in the chain of its tenant, or of the instance, from 1.
    pub seq: i64,
    /// Of the entry before it; empty for the first.
    pub previous_hash: Vec<u8>,
    /// SHA-256 over all of the above, which the database computes (`domain::audit::hash`).
    pub hash: Vec<u8>,
}

/// Where a chain begins and ends.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = audit_chains)]
pub struct AuditChain {
    /// 0 for the chain of the instance itself.
    pub tenant_id: TenantId,
    pub seq: i64,
    pub hash: Vec<u8>,
    /// The last entry that retention has taken away, and its hash; 0 and empty where there is none.
    pub pruned_seq: i64,
    pub pruned_hash: Vec<u8>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = audit_entries)]
pub struct NewAuditEntry {
    pub tenant_id: Option<TenantId>,
    pub user_id: Option<UserId>,
    pub actor: String,
    pub via: Via,
    pub action: &'static str,
    pub target: String,
    pub details: Value,
    pub ip: Option<String>,
    pub request_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

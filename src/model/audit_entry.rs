//! Rows of `audit_entries` and `audit_chains`: the audit log.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::{AuditEntryId, TenantId, UserId, Via};
use crate::schema::{audit_chains, audit_entries};

/// An entry of the audit log: who changed what, and when.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = audit_entries)]
pub struct AuditEntry {
    /// Number of the row.
    pub id: AuditEntryId,
    /// Tenant that the entry belongs to; `None` for the instance itself.
    pub tenant_id: Option<TenantId>,
    /// User who acted, if it was one.
    pub user_id: Option<UserId>,
    /// Actor as text: an e-mail address, a key's hint, or `system`.
    pub actor: String,
    /// Way in which the actor came.
    pub via: Via,
    /// Action, such as `api_key.minted`.
    pub action: String,
    /// Object of the action, such as `api_key:7`.
    pub target: String,
    /// Details of the action, as a JSON object.
    pub details: Value,
    /// IP address of the actor.
    pub ip: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// Time of the entry (UTC).
    pub created_at: DateTime<Utc>,
    /// Place in the chain of the tenant or the instance, from 1.
    pub seq: i64,
    /// Hash of the entry before this one; empty for the first.
    pub previous_hash: Vec<u8>,
    /// SHA-256 over all fields above, computed by the database (`domain::audit::hash`).
    pub hash: Vec<u8>,
}

/// State of an audit chain: where it begins and ends.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = audit_chains)]
pub struct AuditChain {
    /// Tenant of the chain; 0 for the chain of the instance itself.
    pub tenant_id: TenantId,
    /// Place of the last entry.
    pub seq: i64,
    /// Hash of the last entry.
    pub hash: Vec<u8>,
    /// Place of the last entry that retention has deleted; 0 if there is none.
    pub pruned_seq: i64,
    /// Hash of that entry; empty if there is none.
    pub pruned_hash: Vec<u8>,
}

/// An audit entry to insert. Fields mean the same as in [`AuditEntry`]; the database adds place and hashes.
#[derive(Debug, Insertable)]
#[diesel(table_name = audit_entries)]
pub struct NewAuditEntry {
    /// Tenant that the entry belongs to; `None` for the instance itself.
    pub tenant_id: Option<TenantId>,
    /// User who acted, if it was one.
    pub user_id: Option<UserId>,
    /// Actor as text.
    pub actor: String,
    /// Way in which the actor came.
    pub via: Via,
    /// Action, such as `api_key.minted`.
    pub action: &'static str,
    /// Object of the action.
    pub target: String,
    /// Details of the action, as a JSON object.
    pub details: Value,
    /// IP address of the actor.
    pub ip: Option<String>,
    /// Id of the request.
    pub request_id: Option<String>,
    /// Time of the entry (UTC).
    pub created_at: DateTime<Utc>,
}

//! A row of `audit_entries`: who changed what.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::{TenantId, UserId, Via};
use crate::schema::audit_entries;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = audit_entries)]
pub struct AuditEntry {
    pub id: i64,
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

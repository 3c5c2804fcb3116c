//! `/api/audit`: log of changes, for admins.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::list::{List, paging, text};
use crate::domain::time::Time;
use crate::domain::{AuditEntryId, Permission, TenantId, UserId, Via};
use crate::model::AuditEntry;
use crate::services::audit::{self, AuditFilter};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Audit entry as the API shows it.
#[derive(Debug, Serialize)]
pub struct AuditBody {
    /// Id of the entry.
    id: AuditEntryId,
    /// Id of the tenant, or `null` for an entry of the instance.
    tenant_id: Option<TenantId>,
    /// Id of the user who made the change.
    user_id: Option<UserId>,
    /// Author of the change: an e-mail address or a key's hint.
    actor: String,
    /// Way in which the change was made, such as the API or a page.
    via: Via,
    /// Name of the change.
    action: String,
    /// Changed resource, such as a key.
    target: String,
    /// Details of the change.
    details: Value,
    /// Client's IP address.
    ip: Option<String>,
    /// Id of the request that made the change.
    request_id: Option<String>,
    /// When the change was made (UTC).
    created_at: DateTime<Utc>,
    /// Position in the hash chain.
    seq: i64,
    /// Hash of the entry before, in hex. Empty for the first entry of a chain.
    previous_hash: String,
    /// Hash of this entry, in hex.
    hash: String,
}

impl From<AuditEntry> for AuditBody {
    fn from(row: AuditEntry) -> Self {
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            user_id: row.user_id,
            actor: row.actor,
            via: row.via,
            action: row.action,
            target: row.target,
            details: row.details,
            ip: row.ip,
            request_id: row.request_id,
            created_at: row.created_at,
            seq: row.seq,
            previous_hash: hex::encode(row.previous_hash),
            hash: hex::encode(row.hash),
        }
    }
}

/// Filters and page of the audit log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Author of the change.
    actor: Option<String>,
    /// Name of the change.
    action: Option<String>,
    /// Changed resource, such as a key.
    target: Option<String>,
    /// Start of the time span, inclusive.
    since: Option<Time>,
    /// End of the time span.
    until: Option<Time>,
}

/// Lists audit entries. An instance token that names no tenant gets all entries, those of the instance included.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadAudit).await?;
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = AuditFilter {
        is_of_instance: false,
        actor: text("actor", query.actor)?,
        action: text("action", query.action)?,
        target: text("target", query.target)?,
        since: query.since.map(Time::utc),
        until: query.until.map(Time::utc),
    };
    let page = state.api.read(scope, move |tx| audit::list(tx, scope, &filter, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(AuditBody::from))))
}

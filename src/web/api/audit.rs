//! `/api/audit`: who changed what, for admins.

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

#[derive(Debug, Serialize)]
pub struct AuditBody {
    id: AuditEntryId,
    tenant_id: Option<TenantId>,
    user_id: Option<UserId>,
    actor: String,
    via: Via,
    action: String,
    target: String,
    details: Value,
    ip: Option<String>,
    request_id: Option<String>,
    created_at: DateTime<Utc>,
    seq: i64,
    /// In hex; empty for the first of a chain.
    previous_hash: String,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    actor: Option<String>,
    action: Option<String>,
    target: Option<String>,
    since: Option<Time>,
    until: Option<Time>,
}

/// An instance token that names no tenant sees all entries, those of the instance included.
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

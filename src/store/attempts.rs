//! Queries on `attempts`, the webhook log.

use diesel::prelude::*;

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::{AttemptId, DeliveryId, Result, TenantId, WebhookId};
use crate::model::Attempt;
use crate::schema::{attempts, events};

/// Which attempts of a list are wanted.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    pub webhook: Option<WebhookId>,
    pub delivery: Option<DeliveryId>,
    pub success: Option<bool>,
}

/// An attempt and the payload of its event.
pub type Logged = (Attempt, String);

pub fn find(conn: &mut PgConnection, tenant: TenantId, id: AttemptId) -> Result<Option<Logged>> {
    let found =
        attempts::table.inner_join(events::table).filter(attempts::tenant_id.eq(tenant)).filter(attempts::id.eq(id));
    Ok(found.select((Attempt::as_select(), events::payload)).first(conn).optional()?)
}

/// Whose attempt it is: for callers who are of no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: AttemptId) -> Result<Option<TenantId>> {
    Ok(attempts::table.find(id).select(attempts::tenant_id).first(conn).optional()?)
}

/// All of a delivery, in their order.
pub fn list_of(conn: &mut PgConnection, tenant: TenantId, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    let query = Attempt::query().filter(attempts::tenant_id.eq(tenant)).filter(attempts::delivery_id.eq(delivery));
    Ok(query.order(attempts::number).load(conn)?)
}

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AttemptFilter,
    paging: &Paging<AttemptId>,
) -> Result<Vec<Logged>> {
    let query = attempts::table.inner_join(events::table).select((Attempt::as_select(), events::payload));
    let mut query = query.limit(paging.size.plus_one()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(attempts::tenant_id.eq(tenant));
    }
    if let Some(webhook) = filter.webhook {
        query = query.filter(attempts::webhook_id.eq(webhook));
    }
    if let Some(delivery) = filter.delivery {
        query = query.filter(attempts::delivery_id.eq(delivery));
    }
    if let Some(success) = filter.success {
        query = query.filter(attempts::success.eq(success));
    }
    if let Some(before) = paging.before {
        query = query.filter(attempts::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(attempts::id.gt(after)).order(attempts::id.asc()),
        None => query.order(attempts::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

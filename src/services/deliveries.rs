//! Deliveries as users see them: lists, attempts, redelivery and cancellation.

use diesel::pg::PgConnection;

use super::audit::{self, AuditedAct};
use crate::domain::page::{Page, Paging};
use crate::domain::signature::{self, Envelope};
use crate::domain::{Actor, AttemptId, DeliveryId, Error, Noun, Permission, Result, TenantId};
use crate::model::{Attempt, Delivery, Event, Webhook};
pub use crate::store::attempts::{AttemptFilter, Logged};
pub use crate::store::deliveries::DeliveryFilter;
use crate::store::notify::Change;
use crate::store::{self, Scope, Tx};

/// Delivery with its attempts, its event, and its webhook unless that is deleted.
#[derive(Debug)]
pub struct DeliveryDetail {
    pub delivery: Delivery,
    /// Oldest first.
    pub attempts: Vec<Attempt>,
    pub event: Event,
    pub webhook: Option<Webhook>,
    pub tenant_slug: String,
}

impl DeliveryDetail {
    /// Returns the request body that an attempt sent, if it sent one.
    pub fn body_of(&self, attempt: &Attempt) -> Option<String> {
        sent_body(attempt, &self.event, &self.tenant_slug)
    }
}

/// Attempt with its event.
#[derive(Debug)]
pub struct AttemptDetail {
    pub attempt: Attempt,
    pub event: Event,
    /// Request body that was sent, if one was.
    pub request_body: Option<String>,
}

/// Rebuilds the body of an attempt from its event. Only the event is stored.
fn sent_body(attempt: &Attempt, event: &Event, tenant_slug: &str) -> Option<String> {
    let envelope =
        Envelope { id: event.id, kind: &event.kind, at: event.created_at, tenant_slug, payload: &event.payload };
    let body = signature::body(attempt.payload_format?, &envelope).ok()?;
    String::from_utf8(body).ok()
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: DeliveryId) -> Result<DeliveryDetail> {
    actor.must(Permission::ReadEvents)?;
    let delivery = store::deliveries::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Delivery))?;
    let attempts = store::attempts::list_of(conn, actor.tenant, id)?;
    let event = store::events::find(conn, actor.tenant, delivery.event_id)?;
    let event = event.ok_or_else(|| Error::bug("a delivery without its event"))?;
    let webhook = store::webhooks::find(conn, actor.tenant, delivery.webhook_id)?;
    let tenant_slug = slug(conn, actor.tenant)?;
    Ok(DeliveryDetail { delivery, attempts, event, webhook, tenant_slug })
}

/// Returns the tenant of a delivery, for callers without a tenant. `None` if there is no such delivery.
pub fn tenant_of(conn: &mut PgConnection, id: DeliveryId) -> Result<Option<TenantId>> {
    store::deliveries::tenant_of(conn, id)
}

/// Returns one page of deliveries, newest first. The caller has checked that the actor may read the scope.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &DeliveryFilter,
    paging: &Paging<DeliveryId>,
) -> Result<Page<Delivery, DeliveryId>> {
    let rows = store::deliveries::list(conn, scope, filter, paging)?;
    Ok(Page::cut(rows, paging, |delivery| delivery.id))
}

/// Makes a delivery due at once. A finished delivery gets another round of attempts; a waiting one skips its wait.
pub fn redeliver(tx: &mut Tx<'_>, actor: &Actor, id: DeliveryId) -> Result<Delivery> {
    let (before, webhook) = to_direct(tx, actor, id)?;
    let webhook = webhook.ok_or_else(|| Error::conflict("the webhook of this delivery was deleted"))?;
    if !webhook.is_active {
        return Err(Error::conflict("the webhook of this delivery is paused or disabled: activate it first"));
    }
    let attempts_max = match before.state.is_final() {
        true => before.attempts_made() + webhook.schedule().attempts(),
        false => before.attempts_max,
    };
    let after = store::deliveries::update_due(tx, actor.tenant, id, attempts_max)?.ok_or_else(under_way)?;
    audit::record(tx, actor, AuditedAct::new("delivery.redelivered", format!("delivery:{id}")))?;
    tx.announce(Change::delivery_at([after.webhook_id]));
    Ok(after)
}

/// Cancels a delivery that is not finished.
pub fn cancel(tx: &mut Tx<'_>, actor: &Actor, id: DeliveryId) -> Result<Delivery> {
    let now = tx.now;
    let (before, _) = to_direct(tx, actor, id)?;
    if before.state.is_final() {
        return Err(Error::conflict(format!("this delivery is already finished: its state is {}", before.state)));
    }
    let after = store::deliveries::update_cancelled(tx, actor.tenant, id, now)?.ok_or_else(under_way)?;
    audit::record(tx, actor, AuditedAct::new("delivery.cancelled", format!("delivery:{id}")))?;
    Ok(after)
}

/// Locks the delivery if this actor may redeliver or cancel it and no attempt is under way. Developers may do so only
/// for their own webhooks.
fn to_direct(conn: &mut PgConnection, actor: &Actor, id: DeliveryId) -> Result<(Delivery, Option<Webhook>)> {
    actor.must(Permission::WriteEvents)?;
    let delivery = store::deliveries::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Delivery))?;
    let webhook = store::webhooks::find(conn, actor.tenant, delivery.webhook_id)?;
    must_direct(actor, webhook.as_ref())?;
    if delivery.is_under_way() { Err(under_way()) } else { Ok((delivery, webhook)) }
}

/// Refuses with 403 unless this actor may redeliver and cancel deliveries of this webhook.
pub fn must_direct(actor: &Actor, webhook: Option<&Webhook>) -> Result<()> {
    actor.must_own(Permission::WriteEvents, webhook.and_then(|webhook| webhook.user_id))
}

fn under_way() -> Error {
    Error::conflict("an attempt is in progress: wait for its result")
}

/// Returns one page of the webhook log, newest first. The caller has checked that the actor may read the scope.
pub fn attempts(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AttemptFilter,
    paging: &Paging<AttemptId>,
) -> Result<Page<Logged, AttemptId>> {
    let rows = store::attempts::list(conn, scope, filter, paging)?;
    Ok(Page::cut(rows, paging, |(attempt, _)| attempt.id))
}

pub fn find_attempt(conn: &mut PgConnection, actor: &Actor, id: AttemptId) -> Result<AttemptDetail> {
    actor.must(Permission::ReadEvents)?;
    let found = store::attempts::find(conn, actor.tenant, id)?;
    let (attempt, event) = found.ok_or(Error::NotFound(Noun::Attempt))?;
    let request_body = sent_body(&attempt, &event, &slug(conn, actor.tenant)?);
    Ok(AttemptDetail { attempt, event, request_body })
}

fn slug(conn: &mut PgConnection, tenant: TenantId) -> Result<String> {
    let found = store::tenants::find(conn, tenant)?;
    Ok(found.map(|tenant| tenant.slug).unwrap_or_default())
}

/// Returns the tenant of an attempt, for callers without a tenant. `None` if there is no such attempt.
pub fn tenant_of_attempt(conn: &mut PgConnection, id: AttemptId) -> Result<Option<TenantId>> {
    store::attempts::tenant_of(conn, id)
}

//! Probes: one test event to a disabled webhook, which is activated again if its endpoint responds with 2xx.

use diesel::pg::PgConnection;

use super::super::audit::{self, AuditedAct};
use super::super::events::{self, NewEvent};
use super::{find, target, to_change};
use crate::domain::page::Paging;
use crate::domain::{Actor, DeliveryId, Error, Permission, Result, WebhookId};
use crate::model::{Delivery, Webhook};
use crate::store::deliveries::DeliveryFilter;
use crate::store::notify::Change;
use crate::store::{self, Scope, Tx};

/// Event type of a probe.
pub const KIND: &str = "webhook.probe";

/// Sends a probe, unless one is under way or the webhook is active.
pub fn begin(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    let webhook = to_change(tx, actor, id, Permission::WriteWebhooks)?;
    let under_way = of(tx, &webhook)?.is_some_and(|probe| !probe.state.is_final());
    if webhook.is_active || under_way {
        return Ok(webhook);
    }
    let payload = format!(r#"{{"message":"Gatepost checks whether this endpoint works again","webhook_id":{id}}}"#);
    let ask = NewEvent::parse_own(KIND, &payload)?;
    let published = events::publish_test(tx, actor, &ask, id)?;
    let filter = DeliveryFilter { event: Some(published.id), ..DeliveryFilter::default() };
    let sent = store::deliveries::list(tx, Scope::Tenant(actor.tenant), &filter, &Paging::default())?;
    let probe = sent.first().ok_or_else(|| Error::bug("a probe without its delivery"))?.id;
    store::webhooks::update_probe(tx, actor.tenant, id, probe)?;
    let deed = AuditedAct::new("webhook.probed", target(id)).with("name", webhook.name.as_str());
    audit::record(tx, actor, deed.with("delivery", probe.to_string()))?;
    Ok(Webhook { probe_id: Some(probe), ..webhook })
}

/// Returns the probe of a webhook, unless the webhook was activated since.
pub fn of(conn: &mut PgConnection, webhook: &Webhook) -> Result<Option<Delivery>> {
    match webhook.probe_id {
        Some(id) => store::deliveries::find(conn, webhook.tenant_id, id),
        None => Ok(None),
    }
}

/// Returns a webhook with its probe.
pub fn look(conn: &mut PgConnection, actor: &Actor, id: WebhookId) -> Result<(Webhook, Option<Delivery>)> {
    let webhook = find(conn, actor, id)?;
    let probe = of(conn, &webhook)?;
    Ok((webhook, probe))
}

/// Activates the webhooks whose probes these successful deliveries were.
pub(in crate::services) fn succeed(tx: &mut Tx<'_>, probes: &[DeliveryId]) -> Result<()> {
    let now = tx.now;
    let mut well = store::webhooks::update_well(tx, probes, now)?;
    // Sort by tenant: each audit entry locks the end of its tenant's chain until COMMIT, and one order avoids
    // deadlocks.
    well.sort_unstable_by_key(|webhook| (webhook.tenant_id, webhook.id));
    for webhook in &well {
        let deed = AuditedAct::new("webhook.activated", target(webhook.id)).with("name", webhook.name.as_str());
        audit::record(tx, &Actor::system(webhook.tenant_id), deed.with("by", "a successful test request"))?;
    }
    if !well.is_empty() {
        tx.announce(Change::delivery_at(well.iter().map(|webhook| webhook.id)));
    }
    Ok(())
}

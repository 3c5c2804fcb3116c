//! Webhooks: creation, changes, activation and test events.

pub mod headers;
pub mod probe;
pub mod secrets;
mod settings;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::Value;

use super::audit::{self, AuditedAct};
use super::events::{self, NewEvent, Published};
use super::idempotency::{self, IdempotencyKey, IdempotencyOutcome};
use super::plans::{self, LimitedResource};
use crate::domain::address::AddressPolicy;
use crate::domain::page::{Page, Paging};
use crate::domain::signature::SigningSecret;
use crate::domain::vault::Vault;
#[cfg(doc)]
use crate::domain::webhook;
use crate::domain::webhook::EventType;
use crate::domain::{Actor, Error, FieldErrors, Noun, Permission, Result, TenantId, WebhookId};
use crate::model::Webhook;
use crate::store::notify::Change;
pub use crate::store::webhooks::{WebhookFilter, WebhookStats};
use crate::store::{self, Scope, Tx};
pub use secrets::DEFAULT_OVERLAP;
use settings::Fresh;

const MAX_WEBHOOKS: i64 = 1_000;
/// Upper bound when counting attempts and waiting deliveries for a webhook's statistics.
pub const MOST_COUNTED: i64 = 1_000;

/// Webhook fields as a client sent them, unparsed. `None` leaves a field as it is, or takes the default.
#[derive(Debug, Clone, Default)]
pub struct WebhookFields {
    /// Defaults to the URL's host.
    pub name: Option<String>,
    /// Endpoint that gets the requests.
    pub url: Option<String>,
    /// Event types, groups such as `order.*`, or `*`.
    pub events: Option<Vec<String>>,
    /// False to pause deliveries.
    pub is_active: Option<bool>,
    /// Form of the request body: `standard`, `event`, `raw` or `cloudevents`.
    pub payload_format: Option<String>,
    /// Form of the signature over the body: `prefixed` or `hex`.
    pub signature_style: Option<String>,
    /// Seconds until a request times out.
    pub timeout_seconds: Option<i64>,
    /// Maximum number of requests under way at once.
    pub max_in_flight: Option<i64>,
    /// Complete set of headers. A value of [`webhook::MASK`] keeps the stored value.
    pub headers: Option<BTreeMap<String, String>>,
    /// Deliveries per second. `Some(None)` removes the limit.
    pub rate_per_second: Option<Option<i64>>,
    /// Seconds before each retry. `Some(None)` restores the default schedule.
    pub retry_schedule: Option<Option<Vec<i64>>>,
    /// Signing secret of a new webhook. Generated if it is absent.
    pub secret: Option<String>,
    /// True if a new webhook also signs with a key pair.
    pub ed25519: bool,
    /// Private key of a new webhook. For `ed25519` it is generated if it is absent.
    pub signing_key: Option<String>,
}

/// New webhook with the secret that signs its deliveries.
#[derive(Debug)]
pub struct Subscribed {
    pub webhook: Webhook,
    pub secret: SigningSecret,
}

/// Creates a webhook.
pub fn subscribe(
    tx: &mut Tx<'_>,
    vault: &Vault,
    policy: &AddressPolicy,
    actor: &Actor,
    ask: &WebhookFields,
) -> Result<Subscribed> {
    let now = tx.now;
    actor.must(Permission::WriteWebhooks)?;
    let Fresh { settings, headers, secret, key } = settings::parse_new(ask, policy)?;
    plans::must_have_room(tx, actor.tenant, LimitedResource::Webhook)?;
    if MAX_WEBHOOKS <= store::webhooks::count(tx, Scope::Tenant(actor.tenant), &WebhookFilter::default())? {
        return Err(Error::LimitReached(format!("a tenant can have {MAX_WEBHOOKS} webhooks: delete one first")));
    }
    let webhook = store::webhooks::insert(tx, actor.tenant, actor.user, &settings, now)?;
    let webhook = headers::keep(tx, vault, webhook, &headers)?;
    secrets::keep(tx, vault, &webhook, &secret)?;
    if let Some(key) = key {
        secrets::keep_key(tx, vault, &webhook, &key)?;
    }
    let deed = AuditedAct::new("webhook.created", target(webhook.id)).with("name", webhook.name.as_str());
    audit::record(tx, actor, deed.with("url", webhook.url.as_str()).with("events", webhook.events.clone()))?;
    Ok(Subscribed { webhook, secret })
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    actor.must(Permission::ReadWebhooks)?;
    store::webhooks::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Webhook))
}

/// Runs a [`subscribe`] once per idempotency key. `shown` builds the stored response from the webhook's row, without
/// its secret.
pub fn subscribe_once(
    tx: &mut Tx<'_>,
    actor: &Actor,
    request: (&IdempotencyKey, &[u8]),
    work: impl FnOnce(&mut Tx<'_>) -> Result<Subscribed>,
    shown: impl FnOnce(&mut Tx<'_>, &Webhook) -> Result<Value>,
) -> Result<IdempotencyOutcome<Subscribed>> {
    actor.must(Permission::WriteWebhooks)?;
    let shown = |tx: &mut Tx<'_>, made: &Subscribed| shown(tx, &made.webhook);
    idempotency::create_once(tx, actor.tenant, ("webhooks", request), work, shown)
}

/// Returns the tenant of a webhook, for callers without a tenant. `None` if there is no such webhook.
pub fn tenant_of(conn: &mut PgConnection, id: WebhookId) -> Result<Option<TenantId>> {
    store::webhooks::tenant_of(conn, id)
}

/// Returns one page of webhooks, newest first. The caller has checked that the actor may read the scope.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &WebhookFilter,
    paging: &Paging<WebhookId>,
) -> Result<Page<Webhook, WebhookId>> {
    let rows = store::webhooks::list(conn, scope, filter, paging)?;
    let mut page = Page::cut(rows, paging, |webhook| webhook.id);
    if paging.offset.is_some() {
        page.total = Some(store::webhooks::count(conn, scope, filter)?);
    }
    Ok(page)
}

/// Returns the names of these webhooks, in no order. The caller has checked that the tenant may be read.
pub fn names(conn: &mut PgConnection, tenant: TenantId, ids: &[WebhookId]) -> Result<Vec<(WebhookId, String)>> {
    store::webhooks::names(conn, tenant, ids)
}

pub fn count(conn: &mut PgConnection, scope: Scope, filter: &WebhookFilter) -> Result<i64> {
    store::webhooks::count(conn, scope, filter)
}

/// Returns recent statistics of these webhooks, in no order. The caller has checked that the actor may read the scope.
pub fn stats(tx: &mut Tx<'_>, scope: Scope, ids: &[WebhookId]) -> Result<Vec<WebhookStats>> {
    let now = tx.now;
    store::webhooks::stats(tx, scope, ids, now)
}

/// Applies the given fields and no others.
pub fn update(
    tx: &mut Tx<'_>,
    vault: &Vault,
    policy: &AddressPolicy,
    actor: &Actor,
    id: WebhookId,
    ask: &WebhookFields,
) -> Result<Webhook> {
    let now = tx.now;
    let before = to_change(tx, actor, id, Permission::WriteWebhooks)?;
    let mut errors = FieldErrors::default();
    let headers = errors.take("headers", headers::given(ask.headers.as_ref(), &before.headers));
    let settings = settings::parse(ask, Some(&before), policy, &mut errors);
    let (Some(settings), Some(headers)) = (settings, headers) else { return Err(errors.into()) };
    headers::must_be_new(&before, &settings.url, headers.as_ref())?;
    let is_switched = settings.is_active != before.is_active;
    let mut after =
        store::webhooks::update(tx, actor.tenant, id, &settings, now)?.ok_or(Error::NotFound(Noun::Webhook))?;
    let has_new_values = headers.as_ref().is_some_and(|given| !given.fresh.is_empty());
    if let Some(given) = headers {
        after = headers::change(tx, vault, after, given)?;
    }
    if is_switched {
        after = switch(tx, actor, id, settings.is_active)?;
    }
    let deed = AuditedAct::new("webhook.updated", target(id))
        .with("name", after.name.as_str())
        .changing(facts(&before), facts(&after));
    // Header values are secret, but the log says that they changed.
    let deed = if has_new_values { deed.with("header_values", "changed") } else { deed };
    audit::record(tx, actor, deed)?;
    Ok(after)
}

/// Returns `Conflict` if the webhook changed since `seen`. Locks the webhook until the transaction ends.
pub fn must_be_as_seen(conn: &mut PgConnection, actor: &Actor, id: WebhookId, seen: DateTime<Utc>) -> Result<()> {
    let is_same = to_change(conn, actor, id, Permission::WriteWebhooks)?.updated_at == seen;
    if is_same {
        Ok(())
    } else {
        Err(Error::conflict("this webhook was changed in the meantime: load it again, then repeat your change"))
    }
}

/// Returns a webhook's settings for the audit log. Headers are reduced to their names, since their values may be
/// secret.
fn facts(webhook: &Webhook) -> Value {
    let headers = webhook.header_names();
    serde_json::json!({
        "name": webhook.name, "url": webhook.url, "events": webhook.events, "is_active": webhook.is_active,
        "payload_format": webhook.payload_format, "signature_style": webhook.signature_style,
        "timeout_seconds": webhook.timeout_seconds, "max_in_flight": webhook.max_in_flight, "headers": headers,
        "rate_per_second": webhook.rate_per_second, "retry_schedule": webhook.retry_gaps,
    })
}

/// Activates a webhook and clears its failure state. Waiting deliveries are sent.
pub fn activate(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    set_active(tx, actor, id, true)
}

/// Pauses a webhook. Waiting deliveries stay, and new events are not sent to it.
pub fn deactivate(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    set_active(tx, actor, id, false)
}

fn set_active(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId, is_active: bool) -> Result<Webhook> {
    let before = to_change(tx, actor, id, Permission::WriteWebhooks)?;
    if before.is_active == is_active {
        return Ok(before);
    }
    let after = switch(tx, actor, id, is_active)?;
    let action = if is_active { "webhook.activated" } else { "webhook.deactivated" };
    audit::record(tx, actor, AuditedAct::new(action, target(id)).with("name", after.name.as_str()))?;
    Ok(after)
}

fn switch(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId, is_active: bool) -> Result<Webhook> {
    let now = tx.now;
    let after = store::webhooks::update_active(tx, actor.tenant, id, is_active, now)?;
    if is_active {
        tx.announce(Change::delivery_at([id]));
    }
    after.ok_or(Error::NotFound(Noun::Webhook))
}

/// Deletes a webhook and cancels its waiting deliveries. Its log stays. Returns the deleted webhook.
pub fn delete(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    let now = tx.now;
    actor.must(Permission::DeleteWebhooks)?;
    // Cancel before locking the webhook: a settlement locks deliveries first, then their webhook. The other order
    // would deadlock.
    let waiting = store::deliveries::cancel_all_of(tx, actor.tenant, id, now)?;
    let webhook = to_change(tx, actor, id, Permission::DeleteWebhooks)?;
    store::webhooks::delete(tx, actor.tenant, id, now)?;
    let published_meanwhile = store::deliveries::cancel_all_of(tx, actor.tenant, id, now)?;
    let cancelled = waiting + published_meanwhile;
    let deed =
        AuditedAct::new("webhook.deleted", target(id)).with("name", webhook.name.as_str()).with("cancelled", cancelled);
    audit::record(tx, actor, deed)?;
    Ok(webhook)
}

/// Publishes an event to this webhook only, whatever it subscribes to, with a single attempt.
pub fn send_test(
    tx: &mut Tx<'_>,
    actor: &Actor,
    id: WebhookId,
    kind: Option<&str>,
    payload: Option<&str>,
) -> Result<Published> {
    let webhook = to_change(tx, actor, id, Permission::WriteWebhooks)?;
    if !webhook.is_active {
        return Err(Error::conflict("this webhook is paused or disabled: activate it first"));
    }
    let made_up = format!(r#"{{"message":"A test event from Gatepost","webhook_id":{id}}}"#);
    let ask = NewEvent::parse_test(kind.unwrap_or(EventType::TEST), payload.unwrap_or(&made_up))?;
    events::publish_test(tx, actor, &ask, id)
}

/// Locks and returns the webhook, if this actor has the permission for it. Every change of a webhook begins here.
fn to_change(conn: &mut PgConnection, actor: &Actor, id: WebhookId, permission: Permission) -> Result<Webhook> {
    actor.must(permission)?;
    let webhook = store::webhooks::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Webhook))?;
    actor.must_own(permission, webhook.user_id)?;
    Ok(webhook)
}

/// Returns the webhook, if this actor may see its sealed secrets.
fn to_reveal(conn: &mut PgConnection, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    let webhook = find(conn, actor, id)?;
    actor.must_own(Permission::RevealSecrets, webhook.user_id)?;
    Ok(webhook)
}

pub(super) fn target(id: WebhookId) -> String {
    format!("webhook:{id}")
}

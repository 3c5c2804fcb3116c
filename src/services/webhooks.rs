//! Webhooks: subscribing, changing, pausing, their signing secrets and test events.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;
use serde_json::Value;

use super::audit::{self, Deed};
use super::events::{self, NewEvent, Published};
use super::plans::{self, Thing};
use crate::domain::address::AddressPolicy;
use crate::domain::page::{Page, Paging};
use crate::domain::retry;
use crate::domain::signature::SigningSecret;
use crate::domain::vault::Vault;
use crate::domain::webhook::{self, EndpointUrl, EventPattern, PayloadFormat, SignatureStyle};
use crate::domain::{Actor, Error, FieldErrors, Noun, Permission, Rejection, Result, TenantId, WebhookId, text};
use crate::model::{Webhook, WebhookSettings};
use crate::store::notify::{self, Change};
pub use crate::store::webhooks::{WebhookFilter, WebhookStats};
use crate::store::{self, Scope};

const MAX_WEBHOOKS: i64 = 1_000;
/// How long an old secret signs along after a rotation, unless said otherwise.
pub const DEFAULT_OVERLAP: TimeDelta = TimeDelta::hours(24);
const MAX_OVERLAP: TimeDelta = TimeDelta::days(7);
const MAX_LIVE_SECRETS: usize = 5;

/// What was asked of a webhook, unparsed; `None` leaves it, or takes the default.
#[derive(Debug, Clone, Default)]
pub struct WebhookFields {
    /// By default the URL's host.
    pub name: Option<String>,
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    pub is_active: Option<bool>,
    pub payload_format: Option<String>,
    pub signature_style: Option<String>,
    pub timeout_seconds: Option<i64>,
    pub max_in_flight: Option<i64>,
    pub headers: Option<BTreeMap<String, String>>,
    /// `Some(None)`: no limit.
    pub rate_per_second: Option<Option<i64>>,
    /// Seconds before each retry; `Some(None)`: the usual ones.
    pub retry_schedule: Option<Option<Vec<i64>>>,
    /// Only for a new webhook; one is made where none is given.
    pub secret: Option<String>,
}

/// A new webhook and the secret that signs its deliveries.
#[derive(Debug)]
pub struct Subscribed {
    pub webhook: Webhook,
    pub secret: SigningSecret,
}

/// Registers an endpoint.
pub fn subscribe(
    conn: &mut PgConnection,
    vault: &Vault,
    policy: &AddressPolicy,
    actor: &Actor,
    ask: &WebhookFields,
    now: DateTime<Utc>,
) -> Result<Subscribed> {
    actor.must(Permission::WriteWebhooks)?;
    let (settings, secret) = parse_new(ask, policy)?;
    plans::must_have_room(conn, actor.tenant, Thing::Webhook, now)?;
    if MAX_WEBHOOKS <= store::webhooks::count(conn, Scope::Tenant(actor.tenant), &WebhookFilter::default())? {
        return Err(Error::LimitReached(format!("a tenant can have {MAX_WEBHOOKS} webhooks: delete one first")));
    }
    let webhook = store::webhooks::insert(conn, actor.tenant, actor.user, &settings, now)?;
    keep_secret(conn, vault, &webhook, &secret, now)?;
    let deed = Deed::new("webhook.created", target(webhook.id)).with("name", webhook.name.as_str());
    audit::record(conn, actor, deed.with("url", webhook.url.as_str()).with("events", webhook.events.clone()), now)?;
    Ok(Subscribed { webhook, secret })
}

fn parse_new(ask: &WebhookFields, policy: &AddressPolicy) -> Result<(WebhookSettings, SigningSecret)> {
    let secret = match ask.secret.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => SigningSecret::parse(text),
        None => Ok(SigningSecret::generate()?),
    };
    let mut errors = FieldErrors::default();
    let secret = errors.take("secret", secret);
    let settings = parse(ask, None, policy, &mut errors);
    match (settings, secret) {
        (Some(settings), Some(secret)) => Ok((settings, secret)),
        _ => Err(errors.into()),
    }
}

/// The settings after what was asked: over those of `before`, or over the defaults.
fn parse(
    ask: &WebhookFields,
    before: Option<&Webhook>,
    policy: &AddressPolicy,
    errors: &mut FieldErrors,
) -> Option<WebhookSettings> {
    let url = match (&ask.url, before) {
        (Some(url), _) => {
            errors.take("url", EndpointUrl::parse(url, policy)).map(|url| (url.to_string(), url.host().to_owned()))
        }
        (None, Some(before)) => Some((before.url.clone(), String::new())),
        (None, None) => errors.take("url", Err(Rejection::required())),
    };
    let name = match (ask.name.as_deref().filter(|name| !name.trim().is_empty()), before) {
        (Some(name), _) => errors.take("name", text::name(name)),
        (None, Some(before)) => Some(before.name.clone()),
        (None, None) => url.as_ref().map(|(_, host)| host.chars().take(100).collect()),
    };
    let events = parse_events(ask, before, errors);
    let payload_format = match &ask.payload_format {
        Some(text) => errors.take("payload_format", text.parse()),
        None => Some(before.map_or(PayloadFormat::Standard, |row| row.payload_format)),
    };
    let signature_style = match &ask.signature_style {
        Some(text) => errors.take("signature_style", text.parse()),
        None => Some(before.map_or(SignatureStyle::Prefixed, |row| row.signature_style)),
    };
    let timeout = ask.timeout_seconds.unwrap_or(before.map_or(30, |row| row.timeout_seconds));
    let in_flight = ask.max_in_flight.unwrap_or(before.map_or(10, |row| row.max_in_flight));
    let timeout_seconds = errors.take("timeout_seconds", webhook::timeout_seconds(timeout));
    let max_in_flight = errors.take("max_in_flight", webhook::max_in_flight(in_flight));
    let headers = match &ask.headers {
        Some(headers) => {
            errors.take("headers", webhook::custom_headers(headers)).map(|headers| headers.into_iter().collect())
        }
        None => Some(before.map_or_else(|| Value::Object(serde_json::Map::new()), |row| row.headers.clone())),
    };
    let rate = ask.rate_per_second.unwrap_or_else(|| before.and_then(|row| row.rate_per_second));
    let rate_per_second = errors.take("rate_per_second", rate.map(webhook::rate_per_second).transpose());
    let gaps = ask.retry_schedule.clone().unwrap_or_else(|| before.and_then(|row| row.retry_gaps.clone()));
    let retry_gaps = errors.take("retry_schedule", gaps.map(retry::retries).transpose());
    Some(WebhookSettings {
        name: name?,
        url: url?.0,
        events: events?,
        is_active: ask.is_active.or(before.map(|row| row.is_active)).unwrap_or(true),
        payload_format: payload_format?,
        signature_style: signature_style?,
        timeout_seconds: timeout_seconds?,
        max_in_flight: max_in_flight?,
        headers: headers?,
        rate_per_second: rate_per_second?,
        retry_gaps: retry_gaps?,
    })
    .filter(|_| errors.is_empty())
}

fn parse_events(ask: &WebhookFields, before: Option<&Webhook>, errors: &mut FieldErrors) -> Option<Vec<String>> {
    match (&ask.events, before) {
        (Some(events), _) => {
            let patterns = errors.take_each("events", events, EventPattern::parse);
            let were_fine = patterns.len() == events.len();
            if were_fine { errors.take("events", webhook::subscriptions(patterns)) } else { None }
        }
        (None, Some(before)) => Some(before.events.clone()),
        (None, None) => errors.take("events", Err(Rejection::required())),
    }
}

fn keep_secret(
    conn: &mut PgConnection,
    vault: &Vault,
    webhook: &Webhook,
    secret: &SigningSecret,
    now: DateTime<Utc>,
) -> Result<()> {
    let sealed = vault.seal(webhook.tenant_id, &Webhook::vault_name(webhook.id), secret.reveal().as_bytes())?;
    store::signing_secrets::insert(conn, webhook.tenant_id, webhook.id, &sealed, now)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    actor.must(Permission::ReadWebhooks)?;
    store::webhooks::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Webhook))
}

/// Whose webhook it is: for callers who are of no tenant. `None` where there is no such webhook.
pub fn tenant_of(conn: &mut PgConnection, id: WebhookId) -> Result<Option<TenantId>> {
    store::webhooks::tenant_of(conn, id)
}

/// One page of webhooks, newest first. Whoever calls has made sure that the scope may be read.
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

pub fn count(conn: &mut PgConnection, scope: Scope, filter: &WebhookFilter) -> Result<i64> {
    store::webhooks::count(conn, scope, filter)
}

/// How these webhooks have been doing lately, in no order. Whoever calls has made sure that the scope may be read.
pub fn stats(
    conn: &mut PgConnection,
    scope: Scope,
    ids: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<Vec<WebhookStats>> {
    store::webhooks::stats(conn, scope, ids, now)
}

/// Changes what was asked and nothing else.
pub fn update(
    conn: &mut PgConnection,
    policy: &AddressPolicy,
    actor: &Actor,
    id: WebhookId,
    ask: &WebhookFields,
    now: DateTime<Utc>,
) -> Result<Webhook> {
    let before = to_change(conn, actor, id)?;
    let mut errors = FieldErrors::default();
    let Some(settings) = parse(ask, Some(&before), policy, &mut errors) else { return Err(errors.into()) };
    let is_switched = settings.is_active != before.is_active;
    let mut after =
        store::webhooks::update(conn, actor.tenant, id, &settings, now)?.ok_or(Error::NotFound(Noun::Webhook))?;
    if is_switched {
        after = switch(conn, actor, id, settings.is_active, now)?;
    }
    let deed = Deed::new("webhook.updated", target(id))
        .with("name", after.name.as_str())
        .changing(facts(&before), facts(&after));
    audit::record(conn, actor, deed, now)?;
    Ok(after)
}

/// `Conflict` where somebody has changed a webhook since then; until this transaction ends, nobody does.
pub fn must_be_as_seen(conn: &mut PgConnection, actor: &Actor, id: WebhookId, seen: DateTime<Utc>) -> Result<()> {
    let is_same = to_change(conn, actor, id)?.updated_at == seen;
    if is_same {
        Ok(())
    } else {
        Err(Error::conflict("somebody else changed this webhook meanwhile: look at it again"))
    }
}

/// What the audit log tells of a webhook; header values may be secrets, so only their names.
fn facts(webhook: &Webhook) -> Value {
    let headers: Vec<&String> = webhook.headers.as_object().map(|headers| headers.keys().collect()).unwrap_or_default();
    serde_json::json!({
        "name": webhook.name, "url": webhook.url, "events": webhook.events, "is_active": webhook.is_active,
        "payload_format": webhook.payload_format, "signature_style": webhook.signature_style,
        "timeout_seconds": webhook.timeout_seconds, "max_in_flight": webhook.max_in_flight, "headers": headers,
        "rate_per_second": webhook.rate_per_second, "retry_schedule": webhook.retry_gaps,
    })
}

/// Lets deliveries go out again, with a clean slate.
pub fn activate(conn: &mut PgConnection, actor: &Actor, id: WebhookId, now: DateTime<Utc>) -> Result<Webhook> {
    set_active(conn, actor, id, true, now)
}

/// Pauses: nothing is sent, and new events pass this webhook by. What waits goes on waiting.
pub fn deactivate(conn: &mut PgConnection, actor: &Actor, id: WebhookId, now: DateTime<Utc>) -> Result<Webhook> {
    set_active(conn, actor, id, false, now)
}

fn set_active(
    conn: &mut PgConnection,
    actor: &Actor,
    id: WebhookId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<Webhook> {
    let before = to_change(conn, actor, id)?;
    if before.is_active == is_active {
        return Ok(before);
    }
    let after = switch(conn, actor, id, is_active, now)?;
    let action = if is_active { "webhook.activated" } else { "webhook.deactivated" };
    audit::record(conn, actor, Deed::new(action, target(id)).with("name", after.name.as_str()), now)?;
    Ok(after)
}

fn switch(
    conn: &mut PgConnection,
    actor: &Actor,
    id: WebhookId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<Webhook> {
    let after = store::webhooks::update_active(conn, actor.tenant, id, is_active, now)?;
    if is_active {
        notify::send(conn, &Change::Delivery)?;
    }
    after.ok_or(Error::NotFound(Noun::Webhook))
}

/// Takes the webhook out of sight and cancels what waits for it; its log stays. Returns what was deleted.
pub fn delete(conn: &mut PgConnection, actor: &Actor, id: WebhookId, now: DateTime<Utc>) -> Result<Webhook> {
    actor.must(Permission::DeleteWebhooks)?;
    let webhook = store::webhooks::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Webhook))?;
    store::webhooks::delete(conn, actor.tenant, id, now)?;
    let cancelled = store::deliveries::cancel_all_of(conn, actor.tenant, id, now)?;
    let deed =
        Deed::new("webhook.deleted", target(id)).with("name", webhook.name.as_str()).with("cancelled", cancelled);
    audit::record(conn, actor, deed, now)?;
    Ok(webhook)
}

/// The newest signing secret. Looking at it is an act of its own in the audit log.
pub fn reveal_secret(
    conn: &mut PgConnection,
    vault: &Vault,
    actor: &Actor,
    id: WebhookId,
    now: DateTime<Utc>,
) -> Result<SigningSecret> {
    let webhook = find(conn, actor, id)?;
    actor.must_own(Permission::RevealSecrets, webhook.user_id)?;
    let live = store::signing_secrets::list_live(conn, actor.tenant, id, now)?;
    let newest = live.first().ok_or_else(|| Error::bug("a webhook without a signing secret"))?;
    let secret = SigningSecret::from_bytes(vault.open(actor.tenant, &Webhook::vault_name(id), &newest.sealed)?)?;
    audit::record(
        conn,
        actor,
        Deed::new("webhook.secret_revealed", target(id)).with("name", webhook.name.as_str()),
        now,
    )?;
    Ok(secret)
}

/// Puts a new secret in front; the old ones sign along for `overlap` (0 to 7 days).
pub fn rotate_secret(
    conn: &mut PgConnection,
    vault: &Vault,
    actor: &Actor,
    id: WebhookId,
    overlap: TimeDelta,
    brought: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Subscribed> {
    let webhook = to_change(conn, actor, id)?;
    actor.must_own(Permission::RevealSecrets, webhook.user_id)?;
    if overlap < TimeDelta::zero() || MAX_OVERLAP < overlap {
        let detail = "must be from 0 to 604800 seconds (7 days)";
        return Err(Error::field("overlap_seconds", Rejection::new("range", detail)));
    }
    let secret = match brought.filter(|text| !text.is_empty()) {
        Some(text) => SigningSecret::parse(text).map_err(|rejection| Error::field("secret", rejection))?,
        None => SigningSecret::generate()?,
    };
    if MAX_LIVE_SECRETS <= store::signing_secrets::list_live(conn, actor.tenant, id, now)?.len()
        && overlap > TimeDelta::zero()
    {
        let says = format!(
            "{MAX_LIVE_SECRETS} secrets sign for this webhook already: wait until one has run out, or rotate without overlap"
        );
        return Err(Error::LimitReached(says));
    }
    store::signing_secrets::update_expiry(conn, actor.tenant, id, now + overlap)?;
    keep_secret(conn, vault, &webhook, &secret, now)?;
    let deed = Deed::new("webhook.secret_rotated", target(id)).with("name", webhook.name.as_str());
    audit::record(conn, actor, deed.with("overlap_seconds", overlap.num_seconds()), now)?;
    Ok(Subscribed { webhook, secret })
}

/// Publishes an event for this webhook alone: one attempt, whatever it subscribes to.
pub fn send_test(
    conn: &mut PgConnection,
    actor: &Actor,
    id: WebhookId,
    kind: Option<&str>,
    payload: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Published> {
    let webhook = to_change(conn, actor, id)?;
    if !webhook.is_active {
        return Err(Error::conflict("this webhook is switched off: activate it first"));
    }
    let made_up = format!(r#"{{"message":"A test event from Gatepost","webhook_id":{id}}}"#);
    let ask = NewEvent::parse(Some(kind.unwrap_or("webhook.test")), Some(payload.unwrap_or(&made_up)), None)?;
    events::publish_test(conn, actor, &ask, id, now)
}

/// The webhook, locked, if this actor may change it.
fn to_change(conn: &mut PgConnection, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    actor.must(Permission::WriteWebhooks)?;
    store::webhooks::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Webhook))
}

pub(super) fn target(id: WebhookId) -> String {
    format!("webhook:{id}")
}

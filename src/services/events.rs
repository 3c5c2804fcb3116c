//! Events: publishing with their deliveries, and look-up.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::idempotency::{self, IdempotencyKey, IdempotencyOutcome};
use super::plans;
use crate::domain::page::{Capped, Page, PageSize, Paging};
use crate::domain::retry::Schedule;
use crate::domain::webhook::EventType;
use crate::domain::{
    Actor, Error, EventId, FieldErrors, Noun, Permission, Rejection, Result, TenantId, WebhookId, text,
};
use crate::model::{Delivery, Event};
use crate::store::deliveries::DeliveryFilter;
pub use crate::store::events::EventFilter;
use crate::store::notify::Change;
use crate::store::{self, Scope, Tx};

/// Maximum number of bytes of a payload's JSON text.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// Event to publish.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub kind: EventType,
    /// Valid JSON, stored as its exact text.
    pub payload: String,
    pub idempotency_key: Option<IdempotencyKey>,
}

impl NewEvent {
    pub fn parse(kind: Option<&str>, payload: Option<&str>, idempotency_key: Option<&str>) -> Result<Self> {
        Self::of(EventType::parse_of_others(kind.unwrap_or_default()), payload, idempotency_key)
    }

    /// Parses a test event for one webhook.
    pub(super) fn parse_test(kind: &str, payload: &str) -> Result<Self> {
        Self::of(EventType::parse_test(kind), Some(payload), None)
    }

    /// Parses an event of any type that Gatepost itself sends to one webhook.
    pub(super) fn parse_own(kind: &str, payload: &str) -> Result<Self> {
        Self::of(EventType::parse(kind), Some(payload), None)
    }

    fn of(kind: Result<EventType, Rejection>, payload: Option<&str>, idempotency_key: Option<&str>) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let kind = errors.take("type", kind);
        let payload = errors.take("data", payload.ok_or_else(Rejection::required).and_then(parse_payload));
        let key = errors.take("idempotency_key", idempotency_key.map(IdempotencyKey::parse).transpose());
        match (kind, payload, key) {
            (Some(kind), Some(payload), Some(idempotency_key)) => Ok(Self { kind, payload, idempotency_key }),
            _ => Err(errors.into()),
        }
    }

    fn hash(&self) -> Vec<u8> {
        let digest = Sha256::new().chain_update(self.kind.as_str()).chain_update([0]).chain_update(&self.payload);
        digest.finalize().to_vec()
    }
}

fn parse_payload(json: &str) -> Result<String, Rejection> {
    if json.trim().is_empty() {
        return Err(Rejection::new("required", "is required: write JSON, as in {\"id\": 1042}"));
    }
    if MAX_PAYLOAD < json.len() {
        return Err(Rejection::new("too_large", "must be at most 256 KiB of JSON"));
    }
    if text::DEEPEST < text::json_depth(json.as_bytes()) {
        return Err(Rejection::new("too_deep", format!("must be nested at most {} levels deep", text::DEEPEST)));
    }
    let raw: Result<&RawValue, _> = serde_json::from_str(json);
    raw.map(|raw| raw.get().to_owned()).map_err(|error| {
        let (line, column, fault) = (error.line(), error.column(), text::json_fault(json.as_bytes(), &error));
        Rejection::new("json", format!("must be JSON: line {line}, column {column}: {fault}"))
    })
}

/// Response to a publisher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Id of the event.
    pub id: EventId,
    /// Event type, as in `order.created`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of webhooks that the event goes to.
    pub deliveries: i64,
    /// Time of publishing (UTC).
    pub created_at: DateTime<Utc>,
    /// Webhooks of this event that have something to send now.
    #[serde(skip)]
    pub webhooks: Vec<WebhookId>,
    /// True if this repeats the response to an earlier request with the same idempotency key.
    #[serde(skip)]
    pub is_replay: bool,
}

/// Publishes an event to every active webhook that wants it: all of it or nothing.
pub fn publish(tx: &mut Tx<'_>, actor: &Actor, ask: &NewEvent) -> Result<Published> {
    actor.must(Permission::WriteEvents)?;
    let mut all = publish_all(tx, actor, std::slice::from_ref(ask))?;
    all.pop().ok_or_else(|| Error::bug("an event was lost on its way"))
}

/// Publishes events like [`publish`]: all of them or none. They are counted last, because the tenant's counter stays
/// locked until COMMIT, and other publishers wait for it.
pub fn publish_all(tx: &mut Tx<'_>, actor: &Actor, asks: &[NewEvent]) -> Result<Vec<Published>> {
    actor.must(Permission::WriteEvents)?;
    plans::must_have_room_for_events(tx, actor.tenant)?;
    let all = asks.iter().map(|ask| publish_uncounted(tx, actor, ask)).collect::<Result<Vec<_>>>()?;
    let new = all.iter().filter(|one| !one.is_replay).count();
    plans::count_written_events(tx, actor.tenant, i64::try_from(new).unwrap_or(i64::MAX))?;
    Ok(all)
}

/// Publishes events like [`publish_all`], once per idempotency key.
pub fn publish_all_once(
    tx: &mut Tx<'_>,
    actor: &Actor,
    asks: &[NewEvent],
    (key, hash): (&IdempotencyKey, &[u8]),
) -> Result<IdempotencyOutcome<Vec<Published>, Vec<Published>>> {
    actor.must(Permission::WriteEvents)?;
    idempotency::run_once(tx, actor.tenant, "events/batch", key, hash, |tx| publish_all(tx, actor, asks))
}

fn publish_uncounted(tx: &mut Tx<'_>, actor: &Actor, ask: &NewEvent) -> Result<Published> {
    let write = |tx: &mut Tx<'_>| write(tx, actor, ask, None);
    let Some(key) = &ask.idempotency_key else { return write(tx) };
    let once = idempotency::run_once(tx, actor.tenant, "events", key, &ask.hash(), write)?;
    Ok(match once {
        IdempotencyOutcome::First(published) => published,
        IdempotencyOutcome::Again(published) => Published { is_replay: true, ..published },
    })
}

/// Publishes an event of Gatepost's own to a tenant's webhooks.
pub(super) fn announce(tx: &mut Tx<'_>, tenant: TenantId, kind: &str, facts: &serde_json::Value) -> Result<()> {
    let kind = EventType::parse(kind).map_err(|rejection| Error::bug(rejection.detail))?;
    let ask = NewEvent { kind, payload: facts.to_string(), idempotency_key: None };
    write(tx, &Actor::system(tenant), &ask, None)?;
    Ok(())
}

/// Publishes an event of Gatepost's own for each of several things, if any webhook of the tenant wants this type.
pub(super) fn announce_wanted(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    kind: &str,
    facts: impl Iterator<Item = serde_json::Value>,
) -> Result<()> {
    let patterns = EventType::parse(kind).map_err(|rejection| Error::bug(rejection.detail))?.patterns();
    if store::webhooks::is_wanted(tx, tenant, &patterns)? {
        for facts in facts {
            announce(tx, tenant, kind, &facts)?;
        }
    }
    Ok(())
}

/// Publishes a test event to one webhook. The caller, `webhooks::send_test`, has checked the actor's rights.
pub(super) fn publish_test(tx: &mut Tx<'_>, actor: &Actor, ask: &NewEvent, webhook: WebhookId) -> Result<Published> {
    write(tx, actor, ask, Some(webhook))
}

fn write(tx: &mut Tx<'_>, actor: &Actor, ask: &NewEvent, only_to: Option<WebhookId>) -> Result<Published> {
    let now = tx.now;
    let attempts_max = if only_to.is_some() { 1 } else { Schedule::default().attempts() };
    let event = store::events::NewEvent {
        id: EventId::generate(),
        tenant: actor.tenant,
        kind: ask.kind.as_str(),
        patterns: ask.kind.patterns(),
        payload: &ask.payload,
        api_key: actor.key(),
        user: actor.user,
        only_to,
        attempts_max,
        now,
    };
    let webhooks = store::events::insert_with_deliveries(tx, &event)?;
    if !webhooks.is_empty() {
        tx.announce(Change::delivery_at(webhooks.iter().copied()));
    }
    Ok(Published {
        id: event.id,
        kind: ask.kind.to_string(),
        deliveries: i64::try_from(webhooks.len()).unwrap_or(i64::MAX),
        created_at: now,
        webhooks,
        is_replay: false,
    })
}

/// Event with its deliveries.
#[derive(Debug)]
pub struct EventDetail {
    pub event: Event,
    /// Newest deliveries first, at most 100.
    pub deliveries: Capped<Delivery>,
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: EventId) -> Result<EventDetail> {
    actor.must(Permission::ReadEvents)?;
    let event = store::events::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Event))?;
    let filter = DeliveryFilter { event: Some(id), ..DeliveryFilter::default() };
    let size = PageSize::new(PageSize::MAX).unwrap_or_default();
    let newest = Paging { size, ..Paging::default() };
    let deliveries = store::deliveries::list(conn, Scope::Tenant(actor.tenant), &filter, &newest)?;
    Ok(EventDetail { event, deliveries: Capped::cut(deliveries, size.get()) })
}

/// Returns the tenant of an event, for callers without a tenant. `None` if there is no such event.
pub fn tenant_of(conn: &mut PgConnection, id: EventId) -> Result<Option<TenantId>> {
    store::events::tenant_of(conn, id)
}

/// Returns one page of events, newest first. The caller has checked that the actor may read the scope.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &EventFilter,
    paging: &Paging<EventId>,
) -> Result<Page<Event, EventId>> {
    let rows = store::events::list(conn, scope, filter, paging)?;
    Ok(Page::cut(rows, paging, |event| event.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(kind: Option<&str>, payload: Option<&str>) -> Vec<String> {
        match NewEvent::parse(kind, payload, None) {
            Ok(_) => Vec::new(),
            Err(Error::Invalid(errors)) => {
                errors.iter().map(|error| format!("{} {}", error.field, error.code)).collect()
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn an_event_has_a_type_and_json_within_its_limit() {
        assert!(fields(Some("order.created"), Some(r#"{"a": 1}"#)).is_empty());
        assert!(fields(Some("order.created"), Some("null")).is_empty());
        assert_eq!(fields(None, None), ["type required", "data required"]);
        assert_eq!(fields(Some("order created"), Some("{")), ["type event_type", "data json"]);
        assert_eq!(fields(Some("a"), Some("{} x")), ["data json"]);
        for kind in ["api_key.revoked", "webhook.disabled", "Webhook.probe", "API_KEY.x.y"] {
            assert_eq!(fields(Some(kind), Some("{}")), ["type reserved"], "{kind}");
            assert!(NewEvent::parse_test(kind, "{}").is_err(), "{kind} as a test");
        }
        assert!(
            NewEvent::parse_test("webhook.test", "{}").is_ok() && NewEvent::parse_test("order.created", "{}").is_ok()
        );
        assert!(NewEvent::parse_own("webhook.probe", "{}").is_ok());
        assert!(fields(Some("webhooks"), Some("1")).is_empty() && fields(Some("api_key"), Some("1")).is_empty());
        let large = format!("\"{}\"", "x".repeat(MAX_PAYLOAD));
        assert_eq!(fields(Some("a"), Some(&large)), ["data too_large"]);
    }

    #[test]
    fn the_text_of_a_payload_is_stored_unchanged() {
        let text = r#"{"b":1.0,  "a":1e2, "b":2}"#;
        assert_eq!(NewEvent::parse(Some("a"), Some(&format!(" {text}\n")), None).unwrap().payload, text);
    }
}

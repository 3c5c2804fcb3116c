//! Delivery steps: claim, build the request, judge the outcome, settle. Expired leases are taken back.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;
use serde_json::{Map, Value, json};

use super::audit::{self, AuditedAct};
use super::events;
use super::webhooks::headers::open;
use super::webhooks::{probe, target};
use crate::domain::delivery::{DeliveryState, ErrorKind, Outcome};
use crate::domain::retry::{self, Jitter, Schedule, Verdict};
use crate::domain::signature::{self, Envelope, Signer};
use crate::domain::vault::Vault;
use crate::domain::webhook::MASK;
use crate::domain::{Actor, DeliveryId, Error, Result, TenantId, WebhookId};
use crate::model::{Claimed, Webhook};
use crate::outbound::Request;
pub use crate::store::claims::{ClaimableWebhooks, LeaseLimits, WebhookBacklog};
use crate::store::settlements::AttemptResult;
use crate::store::{self, Tx};

/// Leased delivery with the attempt that its lease names. It is sent once and settled once.
#[derive(Debug)]
pub struct Claim(Claimed);

/// Finds webhooks that have deliveries due and room for them.
pub fn look(conn: &mut PgConnection, room: LeaseLimits, offset: TimeDelta) -> Result<ClaimableWebhooks> {
    store::claims::look(conn, room, offset)
}

/// Deliveries leased from some webhooks.
#[derive(Debug, Default)]
pub struct LeasedDeliveries {
    pub claims: Vec<Claim>,
    /// Healthy webhooks among them that have more due. The rest waits for requests under way, or for the rate limit.
    pub with_more: Vec<WebhookBacklog>,
}

/// Leases due deliveries of these webhooks as room allows, and records the attempt that each is about to have.
pub fn claim(
    tx: &mut Tx<'_>,
    webhooks: &[WebhookId],
    room: LeaseLimits,
    lease: Duration,
    offset: TimeDelta,
) -> Result<LeasedDeliveries> {
    // One transaction leases at a time, across all replicas, so that caps and rates hold.
    let now = tx.now;
    store::claims::lock_claims(tx)?;
    let rows = store::claims::lease(tx, webhooks, room, lease, offset, now)?;
    let with_more = store::claims::with_more(tx, webhooks, offset)?;
    Ok(LeasedDeliveries { claims: rows.into_iter().map(Claim).collect(), with_more })
}

impl Claim {
    /// Wraps a delivery that was leased on publishing.
    pub(super) fn new(row: Claimed) -> Self {
        Self(row)
    }

    /// Returns true if the endpoint has only failed lately.
    pub fn is_failing(&self) -> bool {
        self.0.is_failing
    }

    pub fn webhook(&self) -> WebhookId {
        self.0.webhook_id
    }

    /// Returns the time limit of the request.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.timeout_seconds).unwrap_or(30))
    }

    /// Builds the signed request of this attempt. The body is serialised once, so the signed bytes are the sent bytes.
    pub fn request(&self, vault: &Vault, now: DateTime<Utc>) -> Result<Request> {
        let row = &self.0;
        let envelope = Envelope {
            id: row.event_id,
            kind: &row.event_type,
            at: row.event_at,
            tenant_slug: &row.tenant_slug,
            payload: &row.payload,
        };
        let body = signature::body(row.payload_format, &envelope)?;
        let mut headers = vec![
            ("content-type".to_owned(), signature::content_type(row.payload_format).to_owned()),
            ("user-agent".to_owned(), concat!("Gatepost/", env!("CARGO_PKG_VERSION")).to_owned()),
            ("x-webhook-event".to_owned(), row.event_type.clone()),
            ("x-webhook-attempt".to_owned(), row.attempts_made.to_string()),
        ];
        headers.extend(self.signatures(vault, &body, now)?);
        headers.extend(open(vault, row.tenant_id, row.webhook_id, &row.headers)?);
        Ok(Request { tenant: row.tenant_id, url: row.url.clone(), headers, body, deadline: self.deadline(), now })
    }

    /// Signs with every live secret (`v1`) and every live key (`v1a`), newest first. The older header uses the newest
    /// secret.
    fn signatures(&self, vault: &Vault, body: &[u8], now: DateTime<Utc>) -> Result<Vec<(String, String)>> {
        let row = &self.0;
        let name = Webhook::vault_name(row.webhook_id);
        let (id, at) = (row.event_id.to_string(), now.timestamp());
        let (mut by_secret, mut by_key, mut over_body) = (Vec::new(), Vec::new(), None);
        for sealed in &row.secrets {
            match Signer::from_bytes(vault.open(row.tenant_id, &name, sealed)?)? {
                Signer::Secret(secret) => {
                    by_secret.push(signature::standard(&secret, &id, at, body)?);
                    if over_body.is_none() {
                        over_body = Some(signature::over_body(&secret, row.signature_style, body)?);
                    }
                }
                Signer::Key(key) => by_key.push(key.sign(&id, at, body)),
            }
        }
        let over_body = over_body.ok_or_else(|| Error::bug("a webhook without a signing secret"))?;
        by_secret.extend(by_key);
        Ok(vec![
            ("webhook-id".to_owned(), id),
            ("webhook-timestamp".to_owned(), at.to_string()),
            ("webhook-signature".to_owned(), by_secret.join(" ")),
            ("x-webhook-signature".to_owned(), over_body),
        ])
    }

    /// Judges the outcome of the attempt. Consumes the claim, so that it is settled once.
    pub fn settle(self, sent: &[(String, String)], outcome: Outcome, jitter: Jitter) -> Settlement {
        let attempt = retry::Attempt { number: self.0.attempts_made, max: self.0.attempts_max };
        let schedule = self.0.retry_gaps.as_deref().map_or_else(Schedule::default, Schedule::of_retries);
        let verdict = retry::verdict(attempt, &outcome, &schedule, jitter);
        self.with_verdict(sent, outcome, verdict)
    }

    /// Fails a delivery that cannot be attempted, so that it does not loop.
    pub fn spoil(self, why: &str) -> Settlement {
        self.with_verdict(&[], Outcome::failed(ErrorKind::Protocol, why), Verdict::Failed)
    }

    fn with_verdict(self, sent: &[(String, String)], outcome: Outcome, verdict: Verdict) -> Settlement {
        let (state, retry_after) = match verdict {
            Verdict::Delivered => (DeliveryState::Delivered, None),
            Verdict::Retry { after } => (DeliveryState::Retrying, Some(after)),
            Verdict::Failed | Verdict::Gone => (DeliveryState::Failed, None),
        };
        let cap = retry_after.and_then(|wait| retry::cap_note(&outcome, wait));
        let is_probe = self.0.event_type == probe::KIND;
        let masked = |name: &String, value: &String| match self.0.headers.get(name) {
            Some(_) => MASK.to_owned(),
            None => value.clone(),
        };
        let settled = AttemptResult {
            tenant: self.0.tenant_id,
            delivery: self.0.id,
            event: self.0.event_id,
            event_type: self.0.event_type,
            webhook: self.0.webhook_id,
            lease_token: self.0.lease_token,
            attempt: self.0.attempt_id,
            attempted_at: self.0.attempted_at,
            number: self.0.attempts_made,
            request_url: self.0.url,
            state,
            retry_after,
            request_headers: object(sent.iter().map(|(name, value)| (name.clone(), masked(name, value)))),
            response_status: outcome.status.and_then(|status| i16::try_from(status).ok()),
            response_headers: object(outcome.response_headers.iter().cloned()),
            success: outcome.is_success(),
            error: outcome.error().map(|error| cap.map_or_else(|| error.clone(), |cap| format!("{error}; {cap}"))),
            error_kind: outcome.failure.as_ref().map(|failure| failure.kind),
            response_body: outcome.response_body,
            duration_ms: outcome.duration_ms,
            remote_address: outcome.remote_address.map(|address| address.to_string()),
            timings: outcome.timings,
            // Without headers no request was sent.
            payload_format: (!sent.is_empty()).then_some(self.0.payload_format),
        };
        Settlement { settled, is_gone: verdict == Verdict::Gone, is_probe }
    }
}

/// Returns header lines as a JSON object. Lines of the same name are joined (RFC 9110 §5.3).
fn object(lines: impl Iterator<Item = (String, String)>) -> Value {
    let mut object: Map<String, Value> = Map::new();
    for (name, value) in lines {
        let joined = match object.get(&name).and_then(Value::as_str) {
            Some(earlier) => format!("{earlier}, {value}"),
            None => value,
        };
        object.insert(name, joined.into());
    }
    Value::Object(object)
}

/// Judged attempt, ready to be written.
#[derive(Debug, Clone)]
pub struct Settlement {
    settled: AttemptResult,
    is_gone: bool,
    /// True if a success may activate its webhook.
    is_probe: bool,
}

impl Settlement {
    pub fn tenant(&self) -> TenantId {
        self.settled.tenant
    }

    pub fn webhook(&self) -> WebhookId {
        self.settled.webhook
    }

    pub fn state(&self) -> DeliveryState {
        self.settled.state
    }

    pub fn is_success(&self) -> bool {
        self.settled.success
    }

    fn has_answer(&self) -> bool {
        self.settled.response_status.is_some()
    }

    /// Returns true if no server responded in time.
    pub fn is_silent(&self) -> bool {
        use ErrorKind::{Connect, Dns, Timeout, Tls};
        !self.has_answer() && matches!(self.settled.error_kind, Some(Dns | Connect | Tls | Timeout))
    }

    /// Removes the receiver's response, if the database refuses to store it.
    #[must_use]
    pub fn without_answer(mut self) -> Self {
        self.settled.response_headers = Value::Object(Map::new());
        self.settled.response_body = None;
        self
    }
}

/// Outcome of writing a batch of settlements.
#[derive(Debug, Default)]
pub struct Written {
    kept: HashSet<DeliveryId>,
    /// Settlements of deliveries that were cancelled during the attempt, such as those of a deleted webhook.
    pub cancelled: usize,
    /// Settlements whose lease was lost.
    pub late: usize,
}

impl Written {
    pub fn has(&self, settlement: &Settlement) -> bool {
        self.kept.contains(&settlement.settled.delivery)
    }
}

/// Writes a batch of settlements. A settlement whose lease was lost changes nothing.
pub fn settle(tx: &mut Tx<'_>, batch: &[Settlement], offset: TimeDelta) -> Result<Written> {
    let now = tx.now;
    let all: Vec<&AttemptResult> = batch.iter().map(|one| &one.settled).collect();
    let held: HashSet<DeliveryId> = store::settlements::settle(tx, &all, offset, now)?.into_iter().collect();
    let kept: Vec<&Settlement> = batch.iter().filter(|one| held.contains(&one.settled.delivery)).collect();
    judge_webhooks(tx, &kept)?;
    let late: Vec<&AttemptResult> = all.into_iter().filter(|one| !held.contains(&one.delivery)).collect();
    let cancelled = match late.is_empty() {
        true => 0,
        false => store::settlements::complete_cancelled(tx, &late)?,
    };
    Ok(Written { kept: held, cancelled, late: late.len().saturating_sub(cancelled) })
}

/// Updates the health of webhooks, and disables those that are gone or have failed too long.
fn judge_webhooks(tx: &mut Tx<'_>, kept: &[&Settlement]) -> Result<()> {
    let now = tx.now;
    let of = |wanted: &dyn Fn(&Settlement) -> bool| {
        distinct(kept.iter().filter(|one| wanted(one)).map(|one| one.settled.webhook))
    };
    let succeeding = of(&|one| one.is_success());
    let failing = of(&|one| !one.is_success() && !succeeding.contains(&one.settled.webhook));
    let gone = of(&|one| one.is_gone);
    let answered = of(&|one| one.has_answer());
    let silent = of(&|one| one.is_silent() && !answered.contains(&one.settled.webhook));
    if !silent.is_empty() {
        store::hosts::insert_of(tx, &silent, now)?;
    }
    if !answered.is_empty() {
        store::hosts::delete_of(tx, &answered)?;
    }
    if !succeeding.is_empty() {
        store::webhooks::update_succeeding(tx, &succeeding, now)?;
    }
    if !failing.is_empty() {
        store::webhooks::update_failing(tx, &failing, now)?;
        warn(tx, &failing)?;
        let since = now - retry::DISABLED_AFTER;
        disable(tx, &failing, Some(since), "every attempt failed for 5 days")?;
    }
    let probes: Vec<DeliveryId> =
        kept.iter().filter(|one| one.is_probe && one.is_success()).map(|one| one.settled.delivery).collect();
    if !probes.is_empty() {
        probe::succeed(tx, &probes)?;
    }
    if !gone.is_empty() {
        disable(tx, &gone, None, "the endpoint responded with 410 Gone")?;
    }
    Ok(())
}

/// Returns ids sorted, without repetition.
fn distinct(ids: impl Iterator<Item = WebhookId>) -> Vec<WebhookId> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Publishes `webhook.failing` a day before a webhook is disabled, once per series of failures.
fn warn(tx: &mut Tx<'_>, ids: &[WebhookId]) -> Result<()> {
    let now = tx.now;
    let before = now - retry::DISABLED_AFTER + retry::WARNED_BEFORE;
    for webhook in store::webhooks::update_warned(tx, ids, before, now)? {
        let facts = json!({
            "webhook": {"id": webhook.id, "name": webhook.name, "url": webhook.url},
            "failing_since": webhook.failing_since,
            "disabled_at": webhook.failing_since.map(|since| since + retry::DISABLED_AFTER),
        });
        events::announce(tx, webhook.tenant_id, "webhook.failing", &facts)?;
    }
    Ok(())
}

fn disable(tx: &mut Tx<'_>, ids: &[WebhookId], failing_before: Option<DateTime<Utc>>, reason: &str) -> Result<()> {
    let now = tx.now;
    let mut disabled = store::webhooks::update_disabled(tx, ids, failing_before, reason, now)?;
    // Sort by tenant: each audit entry locks the end of its tenant's chain until COMMIT, and one order avoids
    // deadlocks.
    disabled.sort_unstable_by_key(|webhook| (webhook.tenant_id, webhook.id));
    for webhook in disabled {
        let facts = json!({"webhook": {"id": webhook.id, "name": webhook.name, "url": webhook.url}, "reason": reason});
        events::announce(tx, webhook.tenant_id, "webhook.disabled", &facts)?;
        let deed =
            AuditedAct::new("webhook.disabled", target(webhook.id)).with("name", webhook.name).with("reason", reason);
        audit::record(tx, &Actor::system(webhook.tenant_id), deed)?;
    }
    Ok(())
}

/// Takes back deliveries whose lease has expired. Returns their number.
pub fn reap(tx: &mut Tx<'_>, limit: i64) -> Result<usize> {
    let now = tx.now;
    store::claims::take_back(tx, limit, now)
}

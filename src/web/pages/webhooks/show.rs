//! Conversion of webhooks into rows and page views.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::form::own_schedule;
use super::view::{Key, NextStep, Row, Show, Trouble};
use super::{OnThisPage, WebhookDetail, snippets};
use crate::domain::Permission;
use crate::domain::webhook::{MASK, PayloadFormat, SignatureStyle, WebhookState};
use crate::model::{Delivery, PublicKey, Webhook};
use crate::services::figures::WebhookFigures;
use crate::services::webhooks::{MOST_COUNTED, WebhookStats};
use crate::web::pages::deliveries::show::{Names, row as delivery_row};
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::{Badge, Choice, Confirmation, Spark, When, text};

/// Maximum number of event types in a row of the list.
const SHOWN_TYPES: usize = 2;

/// Returns a webhook as a row of the list.
pub fn row(webhook: Webhook, figures: &WebhookFigures, now: DateTime<Utc>) -> Row {
    let none = vec![0; 24];
    let week = figures.week.get(&webhook.id).copied().unwrap_or_default();
    Row {
        state: Badge::state(webhook.state().as_str()),
        more_events: webhook.events.len().saturating_sub(SHOWN_TYPES),
        events: webhook.events.into_iter().take(SHOWN_TYPES).collect(),
        spark: Spark::new(figures.hours.get(&webhook.id.0).unwrap_or(&none), "attempt", "24 hours"),
        failures: text::share(week.made - week.succeeded, week.made),
        last_success: When::maybe(webhook.last_success_at, now),
        id: webhook.id.0,
        name: webhook.name,
        url: webhook.url,
    }
}

/// Data for the page of a webhook.
pub struct Context {
    pub shell: Shell,
    pub found: WebhookDetail,
    pub now: DateTime<Utc>,
    pub once: OnThisPage,
}

/// Returns the page of a webhook.
pub fn show(context: Context) -> Show {
    let Context { shell, found, now, once } = context;
    let WebhookDetail { webhook, keys, probe, stats, stretch, tally, deliveries } = found;
    let names = Names::from([(webhook.id, webhook.name.clone())]);
    let asks = Asks::new(&webhook, &shell.csrf);
    Show {
        state: Badge::state(webhook.state().as_str()),
        trouble: trouble(&webhook, probe.as_ref(), stats.as_ref(), now),
        ranges: stretch.choices(&urls::webhook(webhook.id)),
        median: stats.as_ref().and_then(|stats| millis(stats.p50_ms)).unwrap_or_else(|| "–".to_owned()),
        slow: stats.as_ref().and_then(|stats| millis(stats.p95_ms)).map(|ms| format!("p95 {ms}")).unwrap_or_default(),
        last_failure: stats.as_ref().and_then(|stats| When::maybe(stats.last_failure_at, now)),
        next_due: stats.as_ref().and_then(|stats| When::maybe(stats.next_attempt_at, now)),
        is_disabled: webhook.state() == WebhookState::Disabled,
        is_active: webhook.is_active,
        format: format(webhook.payload_format).to_owned(),
        style: style(webhook.signature_style).to_owned(),
        timeout: text::seconds(webhook.timeout_seconds),
        in_flight: webhook.max_in_flight.to_string(),
        rate: webhook.rate_per_second.map_or_else(|| "No limit".to_owned(), |rate| rate.to_string()),
        retries: webhook.retry_gaps.as_deref().map_or_else(|| "Default schedule".to_owned(), own_schedule),
        created: When::new(webhook.created_at, now),
        last_success: When::maybe(webhook.last_success_at, now),
        secrets_note: note(once.secret.is_some()).to_owned(),
        secret: once.secret,
        are_headers_shown: once.headers.is_some(),
        headers: headers(&webhook, once.headers),
        keys: keys.into_iter().filter_map(|key| self::key(key, now)).collect(),
        may_change: shell.rights.may_own(Permission::WriteWebhooks, webhook.user_id),
        may_reveal: shell.rights.may_own(Permission::RevealSecrets, webhook.user_id),
        delivered: text::grouped(tally.delivered()),
        failed: text::grouped(tally.failed()),
        pending: stats.as_ref().map_or_else(|| "0".to_owned(), |stats| text::capped(stats.waiting, MOST_COUNTED)),
        success_rate: stats.map_or_else(|| "–".to_owned(), |stats| text::share(stats.successes, stats.attempts)),
        chart: stretch.deliveries_chart("deliveries", &tally.finished),
        deliveries: deliveries.into_iter().map(|delivery| delivery_row(delivery, &names, now)).collect(),
        test_type: once.test_type,
        errors: once.errors,
        snippets: snippets::verifying(),
        pause: asks.pause,
        rotate: asks.rotate,
        rotate_key: asks.rotate_key,
        remove_key: asks.remove_key,
        delete: asks.delete,
        id: webhook.id.0,
        name: webhook.name,
        url: webhook.url,
        events: webhook.events,
        shell,
    }
}

const fn note(is_shown: bool) -> &'static str {
    if is_shown {
        "The audit log records that you revealed this secret."
    } else {
        "Stored encrypted. The audit log records each time it is revealed."
    }
}

/// Returns the headers, with masked values unless they were revealed.
fn headers(webhook: &Webhook, shown: Option<BTreeMap<String, String>>) -> Vec<(String, String)> {
    match shown {
        Some(values) => values.into_iter().collect(),
        None => webhook.header_names().iter().map(|name| ((*name).to_owned(), MASK.to_owned())).collect(),
    }
}

fn key(key: PublicKey, now: DateTime<Utc>) -> Option<Key> {
    Some(Key { text: key.public_key?, until: When::maybe(key.expires_at, now) })
}

/// Formats a duration given in milliseconds.
fn millis(ms: Option<f64>) -> Option<String> {
    let length = Duration::try_from_secs_f64(ms? / 1_000.0).ok()?;
    i64::try_from(length.as_millis()).ok().map(text::millis)
}

/// Returns what is wrong with the webhook, what will happen, and what the user can do.
fn trouble(
    webhook: &Webhook,
    probe: Option<&Delivery>,
    stats: Option<&WebhookStats>,
    now: DateTime<Utc>,
) -> Option<Trouble> {
    match (webhook.state(), &webhook.disabled_reason) {
        (WebhookState::Disabled, Some(reason)) => {
            let reason = text::sentence(reason);
            let (says, way) = match probe {
                None => ("Send a test request: the webhook resumes after a 2xx response.".to_owned(), NextStep::Probe),
                Some(probe) if !probe.state.is_final() => (
                    "A test request is being sent. Reload this page to see its result.".to_owned(),
                    NextStep::Wait(probe.id.to_string()),
                ),
                Some(probe) => {
                    let came = probe.last_error.as_deref().map(text::sentence).unwrap_or_default();
                    (format!("The test request failed. {came}"), NextStep::Again(probe.id.to_string()))
                }
            };
            Some(Trouble { says: format!("Gatepost disabled this webhook: {reason} {says}"), way })
        }
        (WebhookState::Failing, _) => {
            let last = stats.and_then(|stats| stats.last_failure.as_deref()).map(text::sentence).unwrap_or_default();
            let lasting = webhook.failing_since.map(|since| When::lasting(since, now)).unwrap_or_default();
            let off = webhook.switches_off_at().map(|at| switches_off(at, now)).unwrap_or_default();
            let host = stats.and_then(|stats| stats.unreachable_since).map(|_| HELD_BACK).unwrap_or_default();
            Some(Trouble {
                says: format!("No delivery has succeeded {lasting}. {last}{host} {off}"),
                way: NextStep::None,
            })
        }
        _ => stats.and_then(|stats| stats.unreachable_since).map(|since| Trouble {
            says: format!("The receiver's host has not responded {}.{HELD_BACK}", When::lasting(since, now)),
            way: NextStep::None,
        }),
    }
}

/// Sentence about a host that does not respond.
const HELD_BACK: &str = " Requests to this host are sent one at a time until it responds.";

/// Returns a sentence that says when a failing webhook will be disabled.
pub fn switches_off(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    if at <= now {
        return "Gatepost disables the webhook after the next failure.".to_owned();
    }
    let When { text, exact, .. } = When::new(at, now);
    format!("Gatepost disables the webhook {text} ({exact}) unless a delivery succeeds before then.")
}

const fn format(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::Standard => "Standard: type, timestamp, data",
        PayloadFormat::Event => "Event: event, timestamp, data",
        PayloadFormat::Raw => "Raw: only the payload",
        PayloadFormat::CloudEvents => "CloudEvents 1.0",
    }
}

const fn style(style: SignatureStyle) -> &'static str {
    match style {
        SignatureStyle::Prefixed => "sha256= and hex",
        SignatureStyle::Hex => "Bare hex",
    }
}

const OVERLAPS: [(&str, &str); 5] = [
    ("0", "Not at all: it stops at once"),
    ("3600", "1 hour"),
    ("86400", "24 hours"),
    ("259200", "3 days"),
    ("604800", "7 days"),
];

/// Confirmations of a webhook, with equal texts in the dialogs and on their own pages.
pub struct Asks {
    pub pause: Confirmation,
    pub rotate: Confirmation,
    pub rotate_key: Confirmation,
    pub remove_key: Confirmation,
    pub delete: Confirmation,
}

impl Asks {
    pub fn new(webhook: &Webhook, csrf: &str) -> Self {
        let (name, back) = (&webhook.name, urls::webhook(webhook.id));
        let act = |act: &str| urls::webhook_act(webhook.id, act);
        let paused =
            "Events published while the webhook is paused are never sent to it. Waiting deliveries keep waiting.";
        let rotated = "A new secret signs every request from now on. The old secret also signs for the time that you choose, so that receivers can switch to the new one.";
        let new_key = "A new key pair signs every request from now on. The old one also signs for the time that you choose, so that receivers can switch to the new public key.";
        let no_key = "Requests no longer carry a v1a signature, so receivers that verify with the public key refuse them. The signing secret still signs.";
        let deleted = "It receives no more events, and its waiting deliveries are cancelled. Its delivery log stays.";
        Self {
            pause: Confirmation::new("pause-webhook", format!("Pause {name}?"), paused)
                .posts("Pause webhook", act("deactivation"), csrf, back.clone())
                .gentle(),
            rotate: Confirmation::new("rotate-secret", "Rotate the signing secret?", rotated)
                .posts("Rotate secret", act("secret-rotation"), csrf, back.clone())
                .gentle()
                .choosing("overlap_seconds", "The old secret also signs for", Choice::list(&OVERLAPS, "86400")),
            rotate_key: Confirmation::new("rotate-key", "Rotate the key pair?", new_key)
                .posts("Rotate key pair", act("key-rotation"), csrf, back.clone())
                .gentle()
                .choosing("overlap_seconds", "The old key pair also signs for", Choice::list(&OVERLAPS, "86400")),
            remove_key: Confirmation::new("remove-key", "Stop signing with key pairs?", no_key).posts(
                "Remove key pair",
                act("key-removal"),
                csrf,
                back.clone(),
            ),
            delete: Confirmation::new("delete-webhook", format!("Delete {name}?"), deleted)
                .posts("Delete webhook", act("deletion"), csrf, back)
                .typed(name.clone()),
        }
    }
}

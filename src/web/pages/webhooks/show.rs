//! Rows of webhooks as their pages show them.

use chrono::{DateTime, Utc};

use super::form::own_schedule;
use super::snippets;
use super::view::{Row, Show};
use crate::domain::actor::Authority;
use crate::domain::webhook::{PayloadFormat, SignatureStyle, WebhookState};
use crate::domain::{FieldErrors, Permission, Role};
use crate::model::{Delivery, Webhook};
use crate::services::figures::{Deliveries, WebhookFigures};
use crate::services::webhooks::WebhookStats;
use crate::web::pages::deliveries::show::{Names, row as delivery_row};
use crate::web::pages::spans::Stretch;
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::{Ask, Badge, Choice, Spark, When, text};

/// Event types that fit into a row of the list.
const SHOWN_TYPES: usize = 2;

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

/// What the page of a webhook needs besides the webhook.
pub struct Context {
    pub shell: Shell,
    pub stats: Option<WebhookStats>,
    pub tally: Deliveries,
    pub deliveries: Vec<Delivery>,
    pub now: DateTime<Utc>,
    /// In clear, on the one answer that was asked for it.
    pub secret: Option<String>,
    pub test_type: String,
    pub errors: FieldErrors,
}

pub fn show(webhook: Webhook, context: Context) -> Show {
    let Context { shell, stats, tally, deliveries, now, secret, test_type, errors } = context;
    let day = Stretch::named("24h", now);
    let names = Names::from([(webhook.id, webhook.name.clone())]);
    let asks = Asks::new(&webhook, &shell.csrf);
    Show {
        state: Badge::state(webhook.state().as_str()),
        notice: notice(&webhook, stats.as_ref(), now),
        is_active: webhook.is_active,
        format: format(webhook.payload_format).to_owned(),
        style: style(webhook.signature_style).to_owned(),
        timeout: text::seconds(webhook.timeout_seconds),
        in_flight: webhook.max_in_flight.to_string(),
        rate: webhook.rate_per_second.map_or_else(|| "No limit".to_owned(), |rate| rate.to_string()),
        retries: webhook.retry_gaps.as_deref().map_or_else(|| "The usual ones".to_owned(), own_schedule),
        created: When::new(webhook.created_at, now),
        last_success: When::maybe(webhook.last_success_at, now),
        secrets_note: note(secret.is_some()).to_owned(),
        secret,
        may_reveal: may_reveal(&shell, &webhook),
        delivered: text::grouped(tally.delivered()),
        failed: text::grouped(tally.failed()),
        pending: stats.as_ref().map_or_else(|| "0".to_owned(), |stats| text::grouped(stats.waiting)),
        success_rate: stats.map_or_else(|| "–".to_owned(), |stats| text::share(stats.successes, stats.attempts)),
        chart: day.deliveries_chart("deliveries", &tally.finished),
        deliveries: deliveries.into_iter().map(|delivery| delivery_row(delivery, &names, now)).collect(),
        test_type,
        errors,
        snippets: snippets::verifying(),
        pause: asks.pause,
        rotate: asks.rotate,
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
        "You looked at it just now: that is in the audit log."
    } else {
        "Kept sealed. Looking at it is noted in the audit log."
    }
}

/// A developer may see the secrets of their own webhooks.
fn may_reveal(shell: &Shell, webhook: &Webhook) -> bool {
    let is_own = match &shell.rights.authority {
        Authority::Person { role, .. } => {
            Role::Admin <= *role || (webhook.user_id.is_some() && webhook.user_id == shell.rights.user)
        }
        Authority::Key { .. } => false,
    };
    is_own && shell.rights.may(Permission::RevealSecrets)
}

fn notice(webhook: &Webhook, stats: Option<&WebhookStats>, now: DateTime<Utc>) -> Option<String> {
    match (webhook.state(), &webhook.disabled_reason, webhook.failing_since) {
        (WebhookState::Disabled, Some(reason), _) => Some(format!(
            "Gatepost switched it off: {} Resume it below once the receiver is well.",
            text::sentence(reason)
        )),
        (WebhookState::Failing, _, Some(since)) => {
            let last = stats.and_then(|stats| stats.last_failure.as_deref()).map(text::sentence).unwrap_or_default();
            let since = When::new(since, now).text;
            Some(format!("Nothing has been accepted since {since}. {last} After five days of this it is switched off."))
        }
        _ => None,
    }
}

const fn format(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::Standard => "Standard: type, timestamp, data",
        PayloadFormat::Event => "Event: event, timestamp, data",
        PayloadFormat::Raw => "Raw: the payload alone",
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

/// The questions, with the same words in the dialog and on their own page.
pub struct Asks {
    pub pause: Ask,
    pub rotate: Ask,
    pub delete: Ask,
}

impl Asks {
    pub fn new(webhook: &Webhook, csrf: &str) -> Self {
        let (name, back) = (&webhook.name, urls::webhook(webhook.id));
        let act = |act: &str| urls::webhook_act(webhook.id, act);
        let paused = "New events pass it by until you resume it. Deliveries that wait already go on waiting.";
        let rotated = "A new secret signs every request from now on. For as long as you choose, the old one signs along, so that receivers can change over.";
        let deleted = "It gets no more events, and what waits for it is cancelled. The log of its past stays.";
        Self {
            pause: Ask::new("pause-webhook", format!("Pause {name}?"), paused)
                .posts("Pause webhook", act("deactivation"), csrf, back.clone())
                .gentle(),
            rotate: Ask::new("rotate-secret", "Rotate the signing secret?", rotated)
                .posts("Rotate secret", act("secret-rotation"), csrf, back.clone())
                .gentle()
                .choosing("overlap_seconds", "The old secret signs along for", Choice::list(&OVERLAPS, "86400")),
            delete: Ask::new("delete-webhook", format!("Delete {name}?"), deleted)
                .posts("Delete webhook", act("deletion"), csrf, back)
                .typed(name.clone()),
        }
    }
}

//! Conversion of deliveries into rows and page views.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::view::{Moment, Phase, Row, Show};
use crate::domain::WebhookId;
use crate::domain::delivery::DeliveryState;
use crate::model::{Attempt, Delivery};
use crate::services::deliveries::{self, DeliveryDetail};
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::{Badge, Confirmation, Snippet, When, text};

/// Names of webhooks by id.
pub type Names = BTreeMap<WebhookId, String>;

/// Returns a delivery as a row of the list.
pub fn row(delivery: Delivery, names: &Names, now: DateTime<Utc>) -> Row {
    let was_tried = delivery.last_status.is_some() || delivery.last_error.is_some();
    Row {
        id: delivery.id.to_string(),
        webhook: webhook_name(names, delivery.webhook_id),
        state: Badge::state(delivery.state.as_str()),
        status: was_tried.then(|| Badge::response(delivery.last_status)),
        attempts: format!("{} of {}", delivery.attempts_made(), delivery.attempts_max),
        next: next(&delivery, now),
        created: When::new(delivery.created_at, now),
        kind: delivery.event_type,
        webhook_id: delivery.webhook_id.0,
    }
}

/// Returns a webhook's name, or its id where the webhook is gone.
pub fn webhook_name(names: &Names, id: WebhookId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("Webhook {id}"))
}

fn next(delivery: &Delivery, now: DateTime<Utc>) -> Option<When> {
    if delivery.state.is_final() { None } else { When::maybe(delivery.next_attempt_at, now) }
}

/// Returns the page of a delivery.
pub fn show(detail: DeliveryDetail, shell: Shell, now: DateTime<Utc>) -> Show {
    let bodies: Vec<String> =
        detail.attempts.iter().map(|attempt| detail.body_of(attempt).unwrap_or_default()).collect();
    let DeliveryDetail { delivery, attempts, event, webhook, .. } = detail;
    let last = attempts.last();
    let last_body = bodies.last().filter(|body| !body.is_empty()).map_or(event.payload.as_str(), String::as_str);
    let may_act = deliveries::must_direct(&shell.rights, webhook.as_ref()).is_ok();
    let is_sendable = webhook.as_ref().is_some_and(|webhook| webhook.is_active);
    Show {
        state: Badge::state(delivery.state.as_str()),
        webhook: webhook
            .as_ref()
            .map_or_else(|| format!("webhook {}", delivery.webhook_id), |webhook| webhook.name.clone()),
        is_webhook_there: webhook.is_some(),
        url: last.map(|attempt| attempt.request_url.clone()).or(webhook.map(|webhook| webhook.url)).unwrap_or_default(),
        created: When::new(delivery.created_at, now),
        finished: When::maybe(delivery.finished_at, now),
        attempts: format!("{} of {}", delivery.attempts_made(), delivery.attempts_max),
        next: next(&delivery, now),
        curl: last.map(|attempt| vec![Snippet::new("curl", curl(attempt, last_body))]).unwrap_or_default(),
        may_redeliver: may_act && is_sendable && delivery.state != DeliveryState::Pending,
        may_cancel: may_act && !delivery.state.is_final(),
        cancel: ask_cancel(&delivery, &shell.csrf),
        under_way: delivery.attempted_at.map(|at| (delivery.attempts_made(), When::new(at, now))),
        moments: (attempts.iter().zip(&bodies).rev().enumerate())
            .map(|(index, (attempt, body))| moment(attempt, body, index == 0, now))
            .collect(),
        payload: text::pretty(&event.payload),
        id: delivery.id.to_string(),
        event_id: delivery.event_id.to_string(),
        webhook_id: delivery.webhook_id.0,
        kind: delivery.event_type,
        shell,
    }
}

pub fn ask_cancel(delivery: &Delivery, csrf: &str) -> Confirmation {
    let says = "No further attempt is made. Attempts that reached the receiver cannot be undone.";
    Confirmation::new("cancel-delivery", format!("Cancel the delivery of {}?", delivery.event_type), says).posts(
        "Cancel delivery",
        urls::delivery_act(delivery.id, "cancellation"),
        csrf,
        urls::delivery(delivery.id),
    )
}

fn moment(attempt: &Attempt, request_body: &str, is_last: bool, now: DateTime<Utc>) -> Moment {
    let (tone, icon) = if attempt.success { ("good", "check") } else { ("bad", "cross") };
    let body = attempt.response_body.clone().unwrap_or_default();
    Moment {
        number: attempt.number,
        tone,
        icon,
        status: Badge::response(attempt.response_status),
        note: note(attempt),
        at: When::new(attempt.created_at, now),
        duration: attempt.duration_ms.map(text::millis).unwrap_or_default(),
        address: attempt.remote_address.clone().unwrap_or_default(),
        phases: phases(attempt),
        request_body: text::pretty(request_body),
        url: attempt.request_url.clone(),
        request_headers: headers(attempt.request_headers.as_ref()),
        response_headers: headers(attempt.response_headers.as_ref()),
        response_size: text::bytes(body.len()),
        response_body: text::pretty(&body),
        is_last,
    }
}

/// Returns the phases of an attempt in order, as far as they are known.
fn phases(attempt: &Attempt) -> Vec<Phase> {
    let Some(total) = attempt.duration_ms.map(|ms| ms.saturating_mul(1_000)) else { return Vec::new() };
    let timings = attempt.timings();
    let (dns, connect) = (timings.dns_us.map(i64::from), timings.connect_us.map(i64::from));
    let before = dns.unwrap_or(0).saturating_add(connect.unwrap_or(0));
    // The total is stored in whole milliseconds, so it can be less than the sum of the phases.
    let total = total.max(before).max(timings.first_byte_us.map_or(0, i64::from));
    let first_byte = timings.first_byte_us.map(i64::from);
    let all = [
        ("DNS lookup", "series-info", dns),
        ("Connecting", "series-idle", connect),
        ("Waiting", "series-warn", first_byte.map(|at| at.saturating_sub(before))),
        ("Reading", "series-good", first_byte.map(|at| total.saturating_sub(at))),
        ("Until failure", "series-bad", first_byte.is_none().then(|| total.saturating_sub(before))),
    ];
    let (mut phases, mut x) = (Vec::new(), 0);
    for (name, class, took) in all {
        let Some(took) = took else { continue };
        let width = took.saturating_mul(1_000) / total.max(1);
        // Zero remains if the phase is shorter than the precision of the total.
        let time = if took == 0 { "< 1 ms".to_owned() } else { text::micros(took) };
        phases.push(Phase { name, class, time, x, width });
        x += width;
    }
    phases
}

fn note(attempt: &Attempt) -> String {
    match (&attempt.error_kind, &attempt.error) {
        (Some(kind), Some(error)) => format!("{}: {error}", text::capitalized(&kind.as_str().replace('_', " "))),
        (None, Some(error)) => text::sentence(error),
        _ => String::new(),
    }
}

/// Returns the fields of a JSON object of texts, or of lists of texts, as pairs.
fn headers(value: Option<&Value>) -> Vec<(String, String)> {
    let Some(Value::Object(fields)) = value else { return Vec::new() };
    let print = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    fields.iter().map(|(name, value)| (name.clone(), print(value))).collect()
}

/// Returns the request as a curl command. The signature is that of the attempt, so receivers accept it only for a
/// limited time.
fn curl(attempt: &Attempt, body: &str) -> String {
    let quote = |text: &str| text.replace('\'', "'\\''");
    let mut command = format!("curl -X POST '{}'", quote(&attempt.request_url));
    for (name, value) in headers(attempt.request_headers.as_ref()) {
        command.push_str(&format!(" \\\n  -H '{}: {}'", quote(&name), quote(&value)));
    }
    command.push_str(&format!(" \\\n  --data-raw '{}'", quote(body)));
    command
}

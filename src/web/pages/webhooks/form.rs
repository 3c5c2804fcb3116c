//! Form of a webhook, as the browser sends it and as a page shows it again.

use std::collections::BTreeMap;

use crate::domain::retry::{self, Schedule};
use crate::domain::webhook::MASK;
use crate::domain::{FieldErrors, Rejection, Result};
use crate::model::Webhook;
use crate::services::random_token;
use crate::services::webhooks::WebhookFields;
use crate::web::pages::api_keys::form::number;
use crate::web::view::{Choice, form_version, text};

use super::view::{Fields, WebhookForm};

impl WebhookForm {
    /// Returns the form of a new webhook with default values.
    pub fn fresh() -> Result<Self> {
        Ok(Self {
            nonce: random_token()?,
            payload_format: "standard".to_owned(),
            signature_style: "prefixed".to_owned(),
            timeout_seconds: "30".to_owned(),
            max_in_flight: "10".to_owned(),
            ..Self::default()
        })
    }

    /// Returns the form filled with a webhook's values. Header values are masked.
    pub fn of(webhook: &Webhook) -> Self {
        Self {
            seen: form_version::seen(webhook.updated_at),
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            events: webhook.events.join("\n"),
            payload_format: webhook.payload_format.to_string(),
            signature_style: webhook.signature_style.to_string(),
            timeout_seconds: webhook.timeout_seconds.to_string(),
            max_in_flight: webhook.max_in_flight.to_string(),
            rate_per_second: webhook.rate_per_second.map(|rate| rate.to_string()).unwrap_or_default(),
            retry_schedule: webhook.retry_gaps.as_deref().map(own_schedule).unwrap_or_default(),
            headers: webhook.header_names().iter().map(|name| format!("{name}: {MASK}\n")).collect(),
            ..Self::default()
        }
    }

    /// Returns the requested fields, or errors for invalid input.
    pub fn ask(&self) -> Result<WebhookFields> {
        let mut errors = FieldErrors::default();
        let timeout_seconds = errors.take("timeout_seconds", number(&self.timeout_seconds));
        let max_in_flight = errors.take("max_in_flight", number(&self.max_in_flight));
        let rate = Some(self.rate_per_second.trim()).filter(|text| !text.is_empty());
        let rate_per_second = errors.take("rate_per_second", rate.map(number).transpose());
        let retry_schedule = errors.take("retry_schedule", schedule_of(&self.retry_schedule));
        let headers = errors.take("headers", headers_of(&self.headers));
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(WebhookFields {
            name: Some(self.name.clone()),
            url: Some(self.url.trim().to_owned()),
            events: Some(text::items(&self.events)),
            payload_format: Some(self.payload_format.clone()),
            signature_style: Some(self.signature_style.clone()),
            timeout_seconds,
            max_in_flight,
            rate_per_second,
            retry_schedule,
            headers,
            secret: Some(self.secret.trim().to_owned()).filter(|secret| !secret.is_empty()),
            ed25519: self.ed25519,
            ..WebhookFields::default()
        })
    }

    /// Returns the form to show again. Secrets that the user entered are removed, so that they are not sent back.
    pub fn without_secrets(self) -> Self {
        let line = |line: &str| match line.split_once(':') {
            Some((name, value)) if value.trim() != MASK => format!("{name}: \n"),
            _ => format!("{line}\n"),
        };
        Self { secret: String::new(), headers: self.headers.lines().map(line).collect(), ..self }
    }

    pub fn fields(&self) -> Fields {
        let format = |value, label, help: &str| Choice::new(value, label, &self.payload_format).help(help);
        let style = |value, label, help: &str| Choice::new(value, label, &self.signature_style).help(help);
        Fields {
            formats: vec![
                format("standard", "Standard", "type, timestamp and data, as Standard Webhooks defines them"),
                format("event", "Event", "event, timestamp and data"),
                format("raw", "Raw", "only the payload, byte for byte"),
                format("cloudevents", "CloudEvents", "CloudEvents 1.0 as structured JSON"),
            ],
            styles: vec![
                style("prefixed", "sha256=…", "the hex digest after the name of the algorithm"),
                style("hex", "Bare hex", "for receivers that expect no prefix"),
            ],
            schedule: schedule(),
        }
    }

    /// True if a field in the folded part differs from its default.
    pub fn is_detailed(&self) -> bool {
        let usual = [
            (&self.payload_format, "standard"),
            (&self.signature_style, "prefixed"),
            (&self.timeout_seconds, "30"),
            (&self.max_in_flight, "10"),
            (&self.secret, ""),
            (&self.rate_per_second, ""),
            (&self.retry_schedule, ""),
            (&self.headers, ""),
        ];
        self.ed25519 || usual.iter().any(|(is, usual)| is != usual)
    }
}

/// Parses headers written as `Name: value`, one per line.
fn headers_of(typed: &str) -> Result<BTreeMap<String, String>, Rejection> {
    let unfit = || Rejection::new("header", "must be a name, a colon and a value on each line");
    let line = |line: &str| {
        let (name, value) = line.split_once(':').ok_or_else(unfit)?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    typed.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

/// Text for a schedule without retries.
const NEVER: &str = "none";

/// Formats a webhook's own schedule as users type it.
pub fn own_schedule(gaps: &[i64]) -> String {
    match gaps {
        [] => NEVER.to_owned(),
        gaps => retry::text_of_retries(gaps),
    }
}

fn schedule_of(typed: &str) -> Result<Option<Vec<i64>>, Rejection> {
    match typed.trim() {
        "" => Ok(None),
        NEVER => Ok(Some(Vec::new())),
        typed => retry::retries_of_text(typed).map(Some),
    }
}

/// Returns a sentence that describes the default schedule.
fn schedule() -> String {
    let schedule = Schedule::default();
    let gaps: Vec<_> = schedule
        .gaps()
        .iter()
        .filter(|gap| 0 < gap.num_seconds())
        .map(|gap| text::seconds(gap.num_seconds()))
        .collect();
    let (last, first) = match gaps.split_last() {
        Some((last, first)) => (last.clone(), first.join(", ")),
        None => return "A failed request is not retried.".to_owned(),
    };
    format!(
        "Default schedule: a failed request is retried after {first} and {last}. Each wait starts at the end of the previous attempt and varies by up to 20 %."
    )
}

//! Parsing of webhook fields into valid settings.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::{WebhookFields, headers};
use crate::domain::address::AddressPolicy;
use crate::domain::retry;
use crate::domain::signature::SigningSecret;
use crate::domain::signing_key::SigningKey;
use crate::domain::webhook::{self, EndpointUrl, EventPattern, PayloadFormat, SignatureStyle};
use crate::domain::{FieldErrors, Rejection, Result, text};
use crate::model::{Webhook, WebhookSettings};

/// Parsed values of a new webhook.
pub(super) struct Fresh {
    pub settings: WebhookSettings,
    pub headers: BTreeMap<String, String>,
    pub secret: SigningSecret,
    pub key: Option<SigningKey>,
}

pub(super) fn parse_new(ask: &WebhookFields, policy: &AddressPolicy) -> Result<Fresh> {
    let secret = match ask.secret.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => SigningSecret::parse(text),
        None => Ok(SigningSecret::generate()?),
    };
    let key = match ask.signing_key.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => SigningKey::parse(text).map(Some),
        None if ask.ed25519 => Ok(Some(SigningKey::generate()?)),
        None => Ok(None),
    };
    let mut errors = FieldErrors::default();
    let (secret, key) = (errors.take("secret", secret), errors.take("signing_key", key));
    let headers = errors.take("headers", headers::given(ask.headers.as_ref(), &Value::Null));
    let settings = parse(ask, None, policy, &mut errors);
    match (settings, headers, secret, key) {
        (Some(settings), Some(headers), Some(secret), Some(key)) => {
            Ok(Fresh { settings, headers: headers.map(|given| given.fresh).unwrap_or_default(), secret, key })
        }
        _ => Err(errors.into()),
    }
}

/// Parses settings. Absent fields come from `before`, else from the defaults.
pub(super) fn parse(
    ask: &WebhookFields,
    before: Option<&Webhook>,
    policy: &AddressPolicy,
    errors: &mut FieldErrors,
) -> Option<WebhookSettings> {
    let url = match (&ask.url, before) {
        (Some(url), _) => {
            errors.take("url", EndpointUrl::parse(url, policy)).map(|url| (url.to_string(), url.host().to_owned()))
        }
        (None, Some(before)) => Some((before.url.clone(), host(&before.url))),
        (None, None) => errors.take("url", Err(Rejection::required())),
    };
    let name = match (ask.name.as_deref().filter(|name| !name.trim().is_empty()), before) {
        (Some(name), _) => errors.take("name", text::name(name)),
        (None, Some(before)) if ask.name.is_none() => Some(before.name.clone()),
        (None, _) => url.as_ref().map(|(_, host)| host.chars().take(100).collect()),
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
    let rate = ask.rate_per_second.unwrap_or_else(|| before.and_then(|row| row.rate_per_second));
    let rate_per_second = errors.take("rate_per_second", rate.map(webhook::rate_per_second).transpose());
    let gaps = ask.retry_schedule.clone().unwrap_or_else(|| before.and_then(|row| row.retry_gaps.clone()));
    let retry_gaps = match gaps.map(retry::retries).transpose() {
        Ok(gaps) => Some(gaps),
        Err((place, rejection)) => {
            let item = place.map(|index| format!("[{index}]")).unwrap_or_default();
            errors.take(format!("retry_schedule{item}"), Err(rejection))
        }
    };
    Some(WebhookSettings {
        name: name?,
        url: url?.0,
        events: events?,
        is_active: ask.is_active.or(before.map(|row| row.is_active)).unwrap_or(true),
        payload_format: payload_format?,
        signature_style: signature_style?,
        timeout_seconds: timeout_seconds?,
        max_in_flight: max_in_flight?,
        rate_per_second: rate_per_second?,
        retry_gaps: retry_gaps?,
    })
    .filter(|_| errors.is_empty())
}

fn host(url: &str) -> String {
    Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
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

//! Reported usage: records of calls that an application served without asking the gate.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::error::{FieldErrors, Rejection, Result};
use super::super::{ApiKeyId, api_key};
use super::{Outcome, UsageRecord, endpoint};
use crate::domain::TenantId;

/// Maximum number of records in one report.
pub const MOST_RECORDS: usize = 10_000;
/// Longest age of a record.
const OLDEST: TimeDelta = TimeDelta::days(7);
/// Longest time that the reporter's clock may be ahead.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// Longest duration in milliseconds: an hour, longer than any request takes.
const LONGEST_MS: f64 = 3_600_000.0;
/// Maximum number of errors that a response lists: the rest of a bad report is likely wrong in the same way.
const MOST_ERRORS: usize = 20;

/// One record, as it was written.
#[derive(Debug, Clone, Default)]
pub struct RecordDraft {
    /// Number of the key.
    pub key_id: Option<ApiKeyId>,
    /// Public id of the key, instead of `key_id`.
    pub key: Option<String>,
    /// Endpoint that was called.
    pub endpoint: Option<String>,
    /// HTTP method.
    pub method: Option<String>,
    /// HTTP status; 200 if absent.
    pub status: Option<i64>,
    /// Outcome; `VALID` if absent.
    pub outcome: Option<String>,
    /// Duration in milliseconds; 0 if absent.
    pub duration_ms: Option<f64>,
    /// IP address of the caller.
    pub ip: Option<IpAddr>,
    /// Id of the request; that of the report if absent.
    pub request_id: Option<String>,
    /// Time of the request (UTC); now if absent.
    pub at: Option<DateTime<Utc>>,
}

/// Key that a record names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// Number of the key.
    Id(ApiKeyId),
    /// Public id of the key.
    Public(String),
}

/// A checked record, before its key is looked up.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Key that the record names.
    pub key: KeyName,
    record: UsageRecord,
}

impl Reported {
    /// Completes the record with its key.
    pub fn by(self, key: ApiKeyId) -> UsageRecord {
        UsageRecord { api_key: Some(key), ..self.record }
    }
}

/// Checks a whole report; one bad record refuses it. `own` is the key that makes the report, if one does: it stands
/// for records that name no key.
pub fn parse(
    tenant: TenantId,
    own: Option<ApiKeyId>,
    request_id: &str,
    drafts: Vec<RecordDraft>,
    now: DateTime<Utc>,
) -> Result<Vec<Reported>> {
    let mut errors = FieldErrors::default();
    if drafts.is_empty() || MOST_RECORDS < drafts.len() {
        errors.add("records", Rejection::new("range", format!("must be 1 to {MOST_RECORDS} records")));
        return Err(errors.into());
    }
    let mut reported = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let place = format!("records[{index}]");
        if let Some(record) = one(tenant, own, request_id, draft, (&mut errors, &place), now) {
            reported.push(record);
        }
        if MOST_ERRORS <= errors.iter().count() {
            break;
        }
    }
    if errors.is_empty() { Ok(reported) } else { Err(errors.into()) }
}

/// Checks one record.
fn one(
    tenant: TenantId,
    own: Option<ApiKeyId>,
    request_id: &str,
    draft: RecordDraft,
    (errors, place): (&mut FieldErrors, &str),
    now: DateTime<Utc>,
) -> Option<Reported> {
    let key_field = if draft.key_id.is_none() && draft.key.is_some() { "key" } else { "key_id" };
    let key = errors.take(format!("{place}.{key_field}"), key_name(draft.key_id, draft.key, own));
    let status = errors.take(format!("{place}.status"), status(draft.status));
    let outcome =
        errors.take(format!("{place}.outcome"), draft.outcome.map_or(Ok(Outcome::Valid), |text| text.parse()));
    let duration_us = errors.take(format!("{place}.duration_ms"), micros(draft.duration_ms.unwrap_or(0.0)));
    let at = errors.take(format!("{place}.at"), moment(draft.at.unwrap_or(now), now));
    let record = UsageRecord {
        tenant,
        api_key: None,
        request_id: draft.request_id.map_or_else(|| request_id.to_owned(), |id| endpoint(&id)),
        endpoint: endpoint(draft.endpoint.as_deref().unwrap_or("(reported)")).into(),
        method: draft
            .method
            .unwrap_or_default()
            .chars()
            .filter(char::is_ascii_alphabetic)
            .take(20)
            .collect::<String>()
            .into(),
        status: status?,
        outcome: outcome?,
        reason: None,
        duration_us: duration_us?,
        cost: 0,
        ip: draft.ip.map(|ip| ip.to_canonical()),
        at: at?,
        is_reported: true,
    };
    Some(Reported { key: key?, record })
}

fn key_name(id: Option<ApiKeyId>, public: Option<String>, own: Option<ApiKeyId>) -> Result<KeyName, Rejection> {
    match (id, public, own) {
        (Some(_), Some(_), _) => Err(Rejection::new("conflict", "cannot be given together with key")),
        (Some(id), None, _) => Ok(KeyName::Id(id)),
        (None, Some(public), _) if api_key::is_public_id(&public) => Ok(KeyName::Public(public)),
        (None, Some(_), _) => Err(Rejection::new("id", "must be a public id: pk_ and 22 characters")),
        (None, None, Some(own)) => Ok(KeyName::Id(own)),
        (None, None, None) => Err(Rejection::required()),
    }
}

fn status(status: Option<i64>) -> Result<i16, Rejection> {
    let status = status.unwrap_or(200);
    let in_range = i16::try_from(status).ok().filter(|status| (100..=599).contains(status));
    in_range.ok_or_else(|| Rejection::new("range", "must be an HTTP status from 100 to 599"))
}

fn micros(millis: f64) -> Result<i64, Rejection> {
    let is_sane = (0.0..=LONGEST_MS).contains(&millis);
    let micros = std::time::Duration::try_from_secs_f64(millis / 1000.0).ok().filter(|_| is_sane);
    let micros = micros.and_then(|duration| i64::try_from(duration.as_micros()).ok());
    micros.ok_or_else(|| Rejection::new("range", "must be milliseconds from 0 to an hour"))
}

fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Rejection> {
    if at < now - OLDEST || now + AHEAD < at {
        return Err(Rejection::new("range", "must lie within the last 7 days"));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::super::super::Error;
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn fields(drafts: Vec<RecordDraft>) -> Vec<String> {
        match parse(TenantId(1), None, "r", drafts, now()) {
            Err(Error::Invalid(errors)) => errors.iter().map(|error| error.field.clone()).collect(),
            other => panic!("it fitted: {other:?}"),
        }
    }

    #[test]
    fn a_record_needs_only_a_key_and_the_rest_has_defaults() {
        let draft = RecordDraft { key_id: Some(ApiKeyId(7)), duration_ms: Some(1.5), ..RecordDraft::default() };
        let record = parse(TenantId(1), None, "r", vec![draft], now()).unwrap().remove(0);
        assert_eq!(record.key, KeyName::Id(ApiKeyId(7)));
        let record = record.by(ApiKeyId(7));
        assert_eq!((record.status, record.outcome, record.duration_us, record.at), (200, Outcome::Valid, 1_500, now()));
        let own = parse(TenantId(1), Some(ApiKeyId(3)), "r", vec![RecordDraft::default()], now()).unwrap();
        assert_eq!(own[0].key, KeyName::Id(ApiKeyId(3)));
    }

    #[test]
    fn every_invalid_field_is_reported() {
        let bad = RecordDraft {
            key: Some("sk_oops".into()),
            status: Some(700),
            outcome: Some("FINE".into()),
            duration_ms: Some(-1.0),
            at: Some(now() - TimeDelta::days(8)),
            ..RecordDraft::default()
        };
        let expected = ["key", "status", "outcome", "duration_ms", "at"].map(|field| format!("records[0].{field}"));
        assert_eq!(fields(vec![bad.clone()]), expected);
        assert_eq!(fields(Vec::new()), ["records"]);
        assert_eq!(fields(vec![bad; 30]).len(), MOST_ERRORS);
        assert_eq!(micros(f64::NAN).unwrap_err().code, "range");
    }
}

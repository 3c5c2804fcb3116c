//! Requests to create or change a key: drafts as they were written, and their checked form.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde_json::{Map, Value};

use super::super::error::{FieldErrors, Rejection, Result};
use super::super::limit::named::{self, NamedLimit};
use super::super::quota::Quota;
use super::super::{scope, text};
use super::{Environment, KeyPrefix};

/// Maximum number of scopes of a key.
const MOST_SCOPES: usize = 100;
/// Maximum number of addresses and networks of a key.
const MOST_ADDRESSES: usize = 100;
/// Maximum number of tags of a key.
pub(super) const MOST_TAGS: usize = 20;
/// Longest metadata as JSON, in bytes.
const LONGEST_METADATA: usize = 16 * 1024;

/// Request for a new key, as it was written. Absent fields take their defaults.
#[derive(Debug, Clone, Default)]
pub struct KeyDraft {
    /// Name of the key; required.
    pub name: Option<String>,
    /// Notes, at most 1,000 characters.
    pub description: Option<String>,
    /// `live` or `test`.
    pub environment: Option<String>,
    /// Prefix of the secret; the tenant's own if absent.
    pub prefix: Option<String>,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// Calls that the first limit allows in its window.
    pub rate_limit: Option<i64>,
    /// Window of the first limit in seconds.
    pub rate_window_seconds: Option<i64>,
    /// Limits beside the first one.
    pub limits: Vec<NamedLimit>,
    /// Quota of the key.
    pub quota: Option<Quota>,
    /// Addresses and networks that may use the key; empty for any.
    pub allowed_ips: Vec<String>,
    /// Owner among the tenant's own customers.
    pub owner: Option<String>,
    /// True to refuse the key while its user is inactive or no member.
    pub requires_owner: Option<bool>,
    /// Metadata, as a JSON object.
    pub metadata: Option<Map<String, Value>>,
    /// Tags of the key.
    pub tags: Vec<String>,
    /// False to create the key disabled.
    pub is_active: Option<bool>,
    /// Expiry (UTC).
    pub expires_at: Option<DateTime<Utc>>,
}

/// Checked request for a new key.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Name of the key.
    pub name: String,
    /// Notes.
    pub description: Option<String>,
    /// Environment of the key.
    pub environment: Environment,
    /// Prefix of the secret; `None` for the tenant's own.
    pub prefix: Option<KeyPrefix>,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// Calls that the first limit allows; `None` for the default of the tenant's plan.
    pub rate_limit: Option<i64>,
    /// Window of the first limit in seconds.
    pub rate_window_seconds: i64,
    /// Limits beside the first one.
    pub limits: Vec<NamedLimit>,
    /// Quota of the key.
    pub quota: Option<Quota>,
    /// Addresses and networks that may use the key; empty for any.
    pub allowed_ips: Vec<String>,
    /// Owner among the tenant's own customers.
    pub owner: Option<String>,
    /// True if the key is refused while its user is inactive or no member.
    pub requires_owner: bool,
    /// Metadata, as a JSON object.
    pub metadata: Value,
    /// Tags of the key.
    pub tags: Vec<String>,
    /// False if the key starts disabled.
    pub is_active: bool,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
}

impl NewKey {
    /// Default window of the first limit: one hour.
    pub const DEFAULT_RATE_WINDOW_SECONDS: i64 = 3600;

    pub fn parse(draft: KeyDraft, now: DateTime<Utc>) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let parsed = Self {
            name: errors.take("name", required_name(draft.name.as_deref())).unwrap_or_default(),
            description: checked(&mut errors, "description", draft.description, description),
            environment: checked(&mut errors, "environment", draft.environment, |text| text.parse())
                .unwrap_or(Environment::Live),
            prefix: checked(&mut errors, "prefix", draft.prefix, KeyPrefix::parse),
            scopes: list(&mut errors, "scopes", &draft.scopes, MOST_SCOPES, scope::parse),
            rate_limit: draft.rate_limit.and_then(|limit| errors.take("rate_limit", rate_limit(limit))),
            rate_window_seconds: errors
                .take(
                    "rate_window_seconds",
                    rate_window(draft.rate_window_seconds.unwrap_or(Self::DEFAULT_RATE_WINDOW_SECONDS)),
                )
                .unwrap_or_default(),
            limits: named::check(&mut errors, draft.limits),
            quota: draft.quota.and_then(|quota| errors.take("quota.limit", Quota::parse(quota.quota, quota.refill))),
            allowed_ips: list(&mut errors, "allowed_ips", &draft.allowed_ips, MOST_ADDRESSES, address),
            owner: checked(&mut errors, "owner", draft.owner, owner),
            requires_owner: draft.requires_owner.unwrap_or(false),
            metadata: errors.take("metadata", metadata(draft.metadata.unwrap_or_default())).unwrap_or_default(),
            tags: list(&mut errors, "tags", &draft.tags, MOST_TAGS, tag),
            is_active: draft.is_active.unwrap_or(true),
            expires_at: draft.expires_at.and_then(|at| errors.take("expires_at", future(at, now))),
        };
        if errors.is_empty() { Ok(parsed) } else { Err(errors.into()) }
    }
}

/// Request to change a key, as it was written, with the fields of [`KeyDraft`]. Absent ones stay; `Some(None)` clears one.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub scopes: Option<Vec<String>>,
    pub rate_limit: Option<i64>,
    pub rate_window_seconds: Option<i64>,
    pub limits: Option<Vec<NamedLimit>>,
    pub quota: Option<Option<Quota>>,
    pub allowed_ips: Option<Vec<String>>,
    pub owner: Option<Option<String>>,
    pub requires_owner: Option<bool>,
    pub metadata: Option<Map<String, Value>>,
    pub tags: Option<Vec<String>>,
    pub is_active: Option<bool>,
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

/// Checked change of a key, with the fields of [`KeyPatch`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyChange {
    pub name: Option<String>,
    pub description: Option<Option<String>>,
    pub scopes: Option<Vec<String>>,
    pub rate_limit: Option<i64>,
    pub rate_window_seconds: Option<i64>,
    pub limits: Option<Vec<NamedLimit>>,
    pub quota: Option<Option<Quota>>,
    pub allowed_ips: Option<Vec<String>>,
    pub owner: Option<Option<String>>,
    pub requires_owner: Option<bool>,
    pub metadata: Option<Value>,
    pub tags: Option<Vec<String>>,
    pub is_active: Option<bool>,
    pub expires_at: Option<Option<DateTime<Utc>>>,
}

impl KeyChange {
    pub fn parse(patch: KeyPatch, now: DateTime<Utc>) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let e = &mut errors;
        let parsed = Self {
            name: patch.name.and_then(|name| e.take("name", text::name(&name))),
            description: patch.description.map(|text| checked(e, "description", text, description)),
            scopes: patch.scopes.map(|items| list(e, "scopes", &items, MOST_SCOPES, scope::parse)),
            rate_limit: patch.rate_limit.and_then(|limit| e.take("rate_limit", rate_limit(limit))),
            rate_window_seconds: patch
                .rate_window_seconds
                .and_then(|window| e.take("rate_window_seconds", rate_window(window))),
            limits: patch.limits.map(|limits| named::check(e, limits)),
            quota: patch
                .quota
                .map(|quota| quota.and_then(|quota| e.take("quota.limit", Quota::parse(quota.quota, quota.refill)))),
            allowed_ips: patch.allowed_ips.map(|items| list(e, "allowed_ips", &items, MOST_ADDRESSES, address)),
            owner: patch.owner.map(|text| checked(e, "owner", text, owner)),
            requires_owner: patch.requires_owner,
            metadata: patch.metadata.and_then(|fields| e.take("metadata", metadata(fields))),
            tags: patch.tags.map(|items| list(e, "tags", &items, MOST_TAGS, tag)),
            is_active: patch.is_active,
            expires_at: patch.expires_at.map(|at| at.and_then(|at| e.take("expires_at", future(at, now)))),
        };
        if errors.is_empty() { Ok(parsed) } else { Err(errors.into()) }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if the change touches a limit or the quota, which a key shares with its lineage.
    pub fn is_of_limit(&self) -> bool {
        self.rate_limit.is_some() || self.rate_window_seconds.is_some() || self.limits.is_some() || self.quota.is_some()
    }

    /// Returns the names of the fields that change, for the audit log.
    pub fn fields(&self) -> Vec<&'static str> {
        [
            ("name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("scopes", self.scopes.is_some()),
            ("rate_limit", self.rate_limit.is_some()),
            ("rate_window_seconds", self.rate_window_seconds.is_some()),
            ("limits", self.limits.is_some()),
            ("quota", self.quota.is_some()),
            ("allowed_ips", self.allowed_ips.is_some()),
            ("owner", self.owner.is_some()),
            ("requires_owner", self.requires_owner.is_some()),
            ("metadata", self.metadata.is_some()),
            ("tags", self.tags.is_some()),
            ("is_active", self.is_active.is_some()),
            ("expires_at", self.expires_at.is_some()),
        ]
        .into_iter()
        .filter_map(|(field, is_changed)| is_changed.then_some(field))
        .collect()
    }
}

/// Parses an optional text. An empty text counts as absent, as forms send it.
fn checked<T>(
    errors: &mut FieldErrors,
    field: &str,
    text: Option<String>,
    parse: impl Fn(&str) -> Result<T, Rejection>,
) -> Option<T> {
    let text = text.filter(|text| !text.trim().is_empty())?;
    errors.take(field, parse(text.trim()))
}

/// Parses a list of at most `most` items and drops repeated ones.
pub(super) fn list<T: PartialEq>(
    errors: &mut FieldErrors,
    field: &str,
    items: &[String],
    most: usize,
    parse: impl Fn(&str) -> Result<T, Rejection>,
) -> Vec<T> {
    if most < items.len() {
        errors.add(field, Rejection::new("too_many", format!("must be at most {most}")));
        return Vec::new();
    }
    let mut unique = Vec::new();
    for item in errors.take_each(field, items, parse) {
        if !unique.contains(&item) {
            unique.push(item);
        }
    }
    unique
}

fn required_name(name: Option<&str>) -> Result<String, Rejection> {
    text::name(name.ok_or_else(Rejection::required)?)
}

fn description(text: &str) -> Result<String, Rejection> {
    if 1000 < text.chars().count() {
        return Err(Rejection::new("too_long", "must be at most 1000 characters"));
    }
    if text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) {
        return Err(Rejection::new("control_character", "must not contain control characters"));
    }
    Ok(text.to_owned())
}

fn owner(text: &str) -> Result<String, Rejection> {
    text::line(&text::composed(text), 200)
}

pub(super) fn tag(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    if text.is_empty() { Err(Rejection::required()) } else { text::line(&text::composed(text), 50) }
}

fn rate_limit(limit: i64) -> Result<i64, Rejection> {
    in_range(limit, 1_000_000_000)
}

fn rate_window(seconds: i64) -> Result<i64, Rejection> {
    in_range(seconds, 2_592_000)
}

fn in_range(number: i64, most: i64) -> Result<i64, Rejection> {
    if (1..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Rejection::new("range", format!("must be from 1 to {most}")))
    }
}

/// Parses an address or a network in CIDR form, and writes it in its canonical form.
fn address(text: &str) -> Result<String, Rejection> {
    let network = text.trim().parse::<IpNet>().map(|network| network.trunc().to_string());
    let address = || text.trim().parse::<IpAddr>().map(|address| address.to_string());
    network
        .or_else(|_| address())
        .map_err(|_| Rejection::new("address", "must be an IP address or a network such as 203.0.113.0/24"))
}

fn metadata(fields: Map<String, Value>) -> Result<Value, Rejection> {
    let value = Value::Object(fields);
    let text = value.to_string();
    // Postgres' jsonb cannot hold NUL.
    if text.contains("\\u0000") {
        return Err(Rejection::new("control_character", "must not contain NUL characters"));
    }
    if LONGEST_METADATA < text.len() {
        return Err(Rejection::new("too_long", "must be at most 16 KiB as JSON"));
    }
    Ok(value)
}

fn future(at: DateTime<Utc>, now: DateTime<Utc>) -> Result<DateTime<Utc>, Rejection> {
    if at <= now {
        return Err(Rejection::new("past", "must lie in the future"));
    }
    // Postgres and most calendars handle years up to 9999 only.
    if chrono::Datelike::year(&at) > 9999 {
        return Err(Rejection::new("range", "must lie before the year 10000"));
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::super::super::Error;
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000, 0).unwrap()
    }

    #[test]
    fn a_name_is_enough_and_the_rest_has_defaults() {
        let key = NewKey::parse(KeyDraft { name: Some(" CI ".into()), ..KeyDraft::default() }, now()).unwrap();
        assert_eq!(
            (key.name.as_str(), key.rate_limit, key.rate_window_seconds, key.is_active),
            ("CI", None, 3600, true)
        );
        assert_eq!((key.environment, key.metadata), (Environment::Live, Value::Object(Map::new())));
    }

    #[test]
    fn every_invalid_field_is_reported() {
        let draft = KeyDraft {
            name: Some("x".repeat(101)),
            environment: Some("staging".into()),
            prefix: Some("pk".into()),
            scopes: vec!["ok".into(), "not ok".into()],
            rate_limit: Some(0),
            rate_window_seconds: Some(2_592_001),
            allowed_ips: vec!["10.0.0.1/8".into(), "nowhere".into()],
            tags: vec![String::new()],
            expires_at: Some(now()),
            ..KeyDraft::default()
        };
        let Err(Error::Invalid(errors)) = NewKey::parse(draft, now()) else { panic!("it fitted") };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let expected = [
            "name",
            "environment",
            "prefix",
            "scopes[1]",
            "rate_limit",
            "rate_window_seconds",
            "allowed_ips[1]",
            "tags[0]",
            "expires_at",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn a_change_lists_its_fields() {
        let patch = KeyPatch { owner: Some(None), rate_limit: Some(5), ..KeyPatch::default() };
        let change = KeyChange::parse(patch, now()).unwrap();
        assert_eq!(change.fields(), ["rate_limit", "owner"]);
        assert!(!change.is_empty() && KeyChange::default().is_empty());
    }
}

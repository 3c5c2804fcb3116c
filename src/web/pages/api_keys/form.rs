//! Form of a key, as the browser sends it and as a page shows it again.

use std::num::ParseIntError;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::view::Fields;
use crate::domain::api_key::{KeyChange, KeyDraft, KeyPatch, NewKey};
use crate::domain::limit::named::NamedLimit;
use crate::domain::quota::Quota;
use crate::domain::text::plain_parse_error;
use crate::domain::{Error, FieldErrors, Rejection, Result};
use crate::model::ApiKey;
use crate::services::random_token;
use crate::web::view::{Choice, form_version, text};

/// Form fields as the browser sends them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyForm {
    /// Random value that makes a repeated submission create no second key.
    pub nonce: String,
    /// Time of the key's last change when the form was filled, to detect concurrent changes.
    pub seen: String,
    pub name: String,
    pub description: String,
    pub environment: String,
    pub prefix: String,
    pub owner: String,
    pub requires_owner: bool,
    /// Scopes for the client's own API, one per line.
    pub scopes: String,
    /// Ticked scopes of Gatepost's own API.
    pub own_scopes: Vec<String>,
    /// Number of days, `never`, or `custom` with `expires_on`.
    pub expiry: String,
    pub expires_on: String,
    pub rate_limit: String,
    pub rate_window_seconds: String,
    /// Further rate limits, one per line, such as `burst 10/1`.
    pub limits: String,
    pub quota: String,
    pub quota_refill: String,
    pub allowed_ips: String,
    pub tags: String,
    pub metadata: String,
}

const OWN_SCOPES: [(&str, &str); 3] = [
    ("events:write", "publish events"),
    ("events:read", "read events and deliveries"),
    ("usage:write", "report usage"),
];
const WINDOWS: [(&str, &str); 6] =
    [("1", "second"), ("60", "minute"), ("3600", "hour"), ("86400", "day"), ("604800", "week"), ("2592000", "30 days")];
const REFILLS: [(&str, &str); 3] = [("", "Never"), ("daily", "Every day"), ("monthly", "Every month")];
const EXPIRIES: [(&str, &str); 6] = [
    ("30", "In 30 days"),
    ("60", "In 60 days"),
    ("90", "In 90 days"),
    ("365", "In a year"),
    ("custom", "On a date of your choice"),
    ("never", "Never"),
];

/// Returns the scopes not to suggest: those that have a check box of their own, and `*`.
pub fn no_suggestions() -> Vec<&'static str> {
    OWN_SCOPES.iter().map(|(scope, _)| *scope).chain(["*"]).collect()
}

impl KeyForm {
    /// Returns the form of a new key with default values.
    pub fn fresh() -> Result<Self> {
        Ok(Self {
            nonce: random_token()?,
            environment: "live".to_owned(),
            expiry: "90".to_owned(),
            rate_window_seconds: NewKey::DEFAULT_RATE_WINDOW_SECONDS.to_string(),
            ..Self::default()
        })
    }

    /// Returns the form filled with a key's values.
    pub fn of(key: &ApiKey) -> Self {
        let is_own = |scope: &&String| OWN_SCOPES.iter().any(|(own, _)| own == scope);
        let (own, free): (Vec<_>, Vec<_>) = key.scopes.iter().partition(|scope| is_own(scope));
        let metadata = if key.metadata == Value::Object(Map::new()) {
            String::new()
        } else {
            text::pretty(&key.metadata.to_string())
        };
        Self {
            seen: form_version::seen(key.updated_at),
            name: key.name.clone(),
            description: key.description.clone().unwrap_or_default(),
            environment: key.environment.to_string(),
            owner: key.owner.clone().unwrap_or_default(),
            requires_owner: key.requires_owner,
            scopes: free.into_iter().cloned().collect::<Vec<_>>().join("\n"),
            own_scopes: own.into_iter().cloned().collect(),
            expires_on: key.expires_at.map(last_day).unwrap_or_default(),
            rate_limit: key.rate_limit.to_string(),
            rate_window_seconds: key.rate_window_seconds.to_string(),
            limits: key.named_limits().iter().map(NamedLimit::line).collect::<Vec<_>>().join("\n"),
            quota: key.quota().map(|quota| quota.quota.to_string()).unwrap_or_default(),
            quota_refill: key
                .quota()
                .and_then(|quota| quota.refill)
                .map(|refill| refill.to_string())
                .unwrap_or_default(),
            allowed_ips: key.allowed_ips.join("\n"),
            tags: key.tags.join(", "),
            metadata,
            ..Self::default()
        }
    }

    /// Returns the options of the form, with scopes of the tenant's other keys as suggestions.
    pub fn fields(&self, known_scopes: Vec<String>) -> Fields {
        let mut windows = Choice::list(&WINDOWS, &self.rate_window_seconds);
        if !windows.iter().any(|window| window.is_chosen) {
            let label =
                self.rate_window_seconds.parse().map_or_else(|_| self.rate_window_seconds.clone(), text::seconds);
            windows.push(Choice::new(self.rate_window_seconds.clone(), label, &self.rate_window_seconds));
        }
        let own = OWN_SCOPES.iter().map(|(scope, label)| Choice {
            is_chosen: self.own_scopes.iter().any(|held| held == scope),
            ..Choice::new(*scope, *label, "")
        });
        Fields {
            environments: vec![
                Choice::new("live", "Live", &self.environment).help("For real traffic."),
                Choice::new("test", "Test", &self.environment)
                    .help("Its secret contains _test, so your API can tell it apart."),
            ],
            expiries: Choice::list(&EXPIRIES, &self.expiry),
            windows,
            refills: Choice::list(&REFILLS, &self.quota_refill),
            own_scopes: own.collect(),
            known_scopes,
        }
    }

    /// True if a field in the folded part of the form is filled.
    pub fn is_detailed(&self) -> bool {
        let texts =
            [&self.prefix, &self.description, &self.allowed_ips, &self.tags, &self.metadata, &self.limits, &self.quota];
        self.requires_owner
            || texts.iter().any(|text| !text.is_empty())
            || !self.rate_limit.trim().is_empty()
            || self.rate_window_seconds != NewKey::DEFAULT_RATE_WINDOW_SECONDS.to_string()
    }

    /// Parses the form of a new key.
    pub fn new_key(&self, now: DateTime<Utc>) -> Result<NewKey> {
        let mut errors = FieldErrors::default();
        let draft = KeyDraft {
            name: Some(self.name.clone()),
            description: Some(self.description.clone()),
            environment: Some(self.environment.clone()),
            prefix: Some(self.prefix.clone()),
            scopes: self.all_scopes(),
            // Leave an empty rate limit to the plan.
            rate_limit: match self.rate_limit.trim() {
                "" => None,
                limit => errors.take("rate_limit", number(limit)),
            },
            rate_window_seconds: errors.take("rate_window_seconds", number(&self.rate_window_seconds)),
            limits: self.limits(&mut errors),
            quota: errors.take("quota", self.quota()).flatten(),
            allowed_ips: text::items(&self.allowed_ips),
            owner: Some(self.owner.clone()),
            requires_owner: Some(self.requires_owner),
            metadata: errors.take("metadata", metadata(&self.metadata)),
            tags: tags(&self.tags),
            is_active: None,
            expires_at: errors.take("expires_on", self.expiry(now)).flatten(),
        };
        joined(errors, NewKey::parse(draft, now))
    }

    /// Parses the form of a changed key.
    pub fn change(&self, key: &ApiKey, now: DateTime<Utc>) -> Result<KeyChange> {
        let mut errors = FieldErrors::default();
        let has_moved = self.expires_on != key.expires_at.map(last_day).unwrap_or_default();
        let patch = KeyPatch {
            name: Some(self.name.clone()),
            description: Some(Some(self.description.clone())),
            scopes: Some(self.all_scopes()),
            rate_limit: errors.take("rate_limit", number(&self.rate_limit)),
            rate_window_seconds: errors.take("rate_window_seconds", number(&self.rate_window_seconds)),
            limits: Some(self.limits(&mut errors)),
            quota: errors.take("quota", self.quota()),
            allowed_ips: Some(text::items(&self.allowed_ips)),
            owner: Some(Some(self.owner.clone())),
            requires_owner: Some(self.requires_owner),
            metadata: errors.take("metadata", metadata(&self.metadata)),
            tags: Some(tags(&self.tags)),
            is_active: None,
            expires_at: if has_moved { errors.take("expires_on", end_of_day(&self.expires_on)) } else { None },
        };
        joined(errors, KeyChange::parse(patch, now))
    }

    fn limits(&self, errors: &mut FieldErrors) -> Vec<NamedLimit> {
        let lines = self.limits.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate();
        lines
            .filter_map(|(index, line)| errors.take(format!("limits[{index}]"), NamedLimit::parse_line(line)))
            .collect()
    }

    fn quota(&self) -> Result<Option<Quota>, Rejection> {
        if self.quota.trim().is_empty() {
            return Ok(None);
        }
        let refill = Some(self.quota_refill.as_str()).filter(|refill| !refill.is_empty());
        Ok(Some(Quota { quota: number(&self.quota)?, refill: refill.map(str::parse).transpose()? }))
    }

    fn all_scopes(&self) -> Vec<String> {
        let mut scopes = text::items(&self.scopes);
        scopes.extend(self.own_scopes.iter().cloned());
        scopes
    }

    fn expiry(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, Rejection> {
        match self.expiry.as_str() {
            "never" => Ok(None),
            "custom" if self.expires_on.is_empty() => {
                Err(Rejection::new("required", "Choose the date on which the key expires."))
            }
            "custom" => end_of_day(&self.expires_on),
            days => {
                let days: i64 = days.parse().map_err(|_| Rejection::new("choice", "Choose when the key expires."))?;
                Ok(Some(now + TimeDelta::days(days.clamp(1, 3_650))))
            }
        }
    }
}

/// Combines the errors of the form's own fields with those of the parsed request.
fn joined<T>(mut errors: FieldErrors, parsed: Result<T>) -> Result<T> {
    match parsed {
        Ok(value) if errors.is_empty() => Ok(value),
        Ok(_) => Err(errors.into()),
        Err(Error::Invalid(more)) => {
            let mut named = FieldErrors::default();
            for error in more.iter() {
                let field = match error.field.as_str() {
                    "expires_at" => "expires_on",
                    "quota.limit" => "quota",
                    other => other,
                };
                named.add(field, Rejection { code: error.code, detail: error.detail.clone() });
            }
            errors.extend(named);
            Err(errors.into())
        }
        Err(error) => Err(error),
    }
}

pub fn number(text: &str) -> Result<i64, Rejection> {
    let parsed = text.trim().parse();
    parsed.map_err(|error: ParseIntError| Rejection::new("number", plain_parse_error(&error.to_string())))
}

/// Returns the tags of a text, separated by commas.
pub fn tags(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

fn metadata(text: &str) -> Result<Map<String, Value>, Rejection> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .map_err(|_| Rejection::new("json", "must be a JSON object, such as {\"plan\": \"gold\"}"))
}

/// Returns the end of a day in UTC: the start of the next day.
fn end_of_day(text: &str) -> Result<Option<DateTime<Utc>>, Rejection> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok();
    let next = day.and_then(|day| day.checked_add_days(Days::new(1))).and_then(|day| day.and_hms_opt(0, 0, 0));
    next.map(|at| Some(at.and_utc())).ok_or_else(|| Rejection::new("date", "must be a day, written like 2027-12-31"))
}

/// Returns the day whose end is this time, as [`end_of_day`] reads it. For any other time, returns the day that
/// contains it.
fn last_day(at: DateTime<Utc>) -> String {
    (at - TimeDelta::seconds(1)).format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2026-11-22T12:00:00Z").unwrap().to_utc()
    }

    #[test]
    fn a_form_reports_all_errors_at_once() {
        let form = KeyForm {
            expiry: "custom".into(),
            rate_limit: "many".into(),
            metadata: "[]".into(),
            scopes: "orders:read\nnot/ok!".into(),
            ..KeyForm::fresh().unwrap()
        };
        let Err(Error::Invalid(errors)) = form.new_key(now()) else { panic!("it fitted") };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["rate_limit", "metadata", "expires_on", "name", "scopes[1]"]);
    }

    #[test]
    fn a_custom_expiry_day_lasts_until_its_end() {
        let form = KeyForm {
            name: "CI".into(),
            expiry: "custom".into(),
            expires_on: "2026-11-30".into(),
            ..KeyForm::fresh().unwrap()
        };
        let at = form.new_key(now()).unwrap().expires_at.unwrap();
        assert_eq!(at.to_rfc3339(), "2026-12-01T00:00:00+00:00");
        assert_eq!(last_day(at), "2026-11-30");
    }
}

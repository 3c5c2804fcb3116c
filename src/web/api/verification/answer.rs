//! Response of a verification, printed field by field. Printed through serde, it took a seventh of the server's work
//! per verification.

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::domain::quota::QuotaState;
use crate::domain::{Error, Result};
use crate::gate::{Decision, NamedStanding};
use crate::web::api::api_keys::KeyBody;
use crate::web::key_auth::rate_headers;
use crate::web::request_id::RequestId;

/// Initial capacity in bytes, enough for most responses, so that the buffer is not reallocated while it grows.
const ROOM: usize = 2048;

/// Decision to print.
pub struct Verified {
    pub decision: Decision,
    pub request_id: RequestId,
    pub now: DateTime<Utc>,
}

/// State of the key's quota.
#[derive(Serialize)]
struct Quota {
    /// Size of the quota.
    limit: i64,
    /// Calls left.
    remaining: i64,
    /// When the quota is refilled (UTC), or `null` if never.
    refills_at: Option<DateTime<Utc>>,
}

/// Returns the JSON of one decision.
pub fn one(verified: &Verified) -> Result<Vec<u8>> {
    let mut out = Printer(Vec::with_capacity(ROOM));
    out.verified(verified)?;
    Ok(out.0)
}

/// Returns the JSON of several decisions, as the list `data`.
pub fn many(all: &[Verified]) -> Result<Vec<u8>> {
    let mut out = Printer(Vec::with_capacity(ROOM.saturating_mul(all.len())));
    out.text("{\"data\":");
    out.list(all, Printer::verified)?;
    out.text("}");
    Ok(out.0)
}

/// JSON under construction.
struct Printer(Vec<u8>);

impl Printer {
    /// Appends text without escaping.
    fn text(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.0, value).map_err(|cause| Error::bug(cause.to_string()))
    }

    fn number(&mut self, name: &str, number: u64) {
        self.text(name);
        self.text(itoa::Buffer::new().format(number));
    }

    /// Appends a time in whole seconds as RFC 3339, digit by digit. Through `Display` it took as long as the rest of a
    /// limit.
    fn second(&mut self, name: &str, at: DateTime<Utc>) {
        self.text(name);
        self.text(itoa::Buffer::new().format(at.year()));
        let parts = [(b'-', at.month()), (b'-', at.day()), (b'T', at.hour()), (b':', at.minute()), (b':', at.second())];
        for (before, part) in parts {
            let [tens, ones] =
                [part / 10, part % 10].map(|digit| u8::try_from(digit).map_or(b'0', |digit| b'0' + digit));
            self.0.extend([before, tens, ones]);
        }
        self.text("Z\"");
    }

    fn list<T>(&mut self, all: &[T], print: impl Fn(&mut Self, &T) -> Result<()>) -> Result<()> {
        self.text("[");
        for (place, one) in all.iter().enumerate() {
            if place != 0 {
                self.text(",");
            }
            print(self, one)?;
        }
        self.text("]");
        Ok(())
    }

    fn verified(&mut self, verified: &Verified) -> Result<()> {
        let decision = &verified.decision;
        self.text(if decision.is_valid() { "{\"valid\":true" } else { "{\"valid\":false" });
        self.text(",\"code\":\"");
        self.text(decision.outcome.as_str());
        self.text("\",\"request_id\":\"");
        self.text(verified.request_id.encoded(&mut RequestId::room()));
        self.text("\",\"key\":");
        self.key(decision, verified.now);
        self.text(",\"missing_scopes\":");
        self.list(&decision.missing_scopes, Self::value)?;
        self.limits(decision)?;
        self.text(",\"quota\":");
        self.value(&decision.quota.map(quota))?;
        self.text(",\"headers\":{");
        for (place, (name, value)) in rate_headers::texts(decision).iter().enumerate() {
            self.text(if place == 0 { "\"" } else { ",\"" });
            self.text(name);
            self.text("\":");
            self.value(value)?;
        }
        self.text("}}");
        Ok(())
    }

    /// Appends the key, from the cached text if its state is unchanged.
    fn key(&mut self, decision: &Decision, now: DateTime<Utc>) {
        let known = decision.known();
        let printed = known.and_then(|known| known.printed(now, || to_raw_value(&KeyBody::of(&known.key, now)).ok()));
        self.text(printed.as_ref().map_or("null", |key| key.get()));
    }

    /// Appends the nearest limit, then all limits.
    fn limits(&mut self, decision: &Decision) -> Result<()> {
        self.text(",\"rate_limit\":");
        let start = self.0.len();
        match decision.nearest() {
            Some(nearest) => self.limit(nearest)?,
            None => self.text("null"),
        }
        let nearest = start..self.0.len();
        self.text(",\"rate_limits\":");
        if let [_] = decision.standings.as_slice() {
            // Copy the text of the nearest limit: it is the only one.
            self.text("[");
            self.0.extend_from_within(nearest);
            self.text("]");
            return Ok(());
        }
        self.list(&decision.standings, Self::limit)
    }

    fn limit(&mut self, named: &NamedStanding) -> Result<()> {
        let standing = &named.standing;
        self.text("{\"name\":");
        self.value(&&*named.name)?;
        self.number(",\"limit\":", standing.limit.quota);
        self.number(",\"remaining\":", standing.remaining);
        self.second(",\"reset_at\":\"", standing.more_at);
        self.number(",\"window_seconds\":", standing.limit.window_seconds);
        self.text("}");
        Ok(())
    }
}

fn quota(standing: QuotaState) -> Quota {
    Quota { limit: standing.quota, remaining: standing.remaining, refills_at: standing.refills_at }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::limit::named::Per;
    use crate::domain::limit::{Limit, Window};
    use crate::domain::usage::Outcome;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
    }

    fn taken(name: &str, quota: u64, window_seconds: u64) -> NamedStanding {
        let standing = Window::new(Limit { quota, window_seconds }).take(at(0), 3);
        NamedStanding { name: name.into(), per: Per::Key, standing }
    }

    fn answered(decision: Decision) -> Value {
        let id = RequestId::make(at(0));
        let verified = [(); 2].map(|()| Verified { decision: decision.clone(), request_id: id, now: at(0) });
        let [first, ..] = &verified;
        let mut alone: Value = serde_json::from_slice(&one(first).unwrap()).unwrap();
        let together: Value = serde_json::from_slice(&many(&verified).unwrap()).unwrap();
        assert_eq!(together, json!({"data": [alone, alone]}));
        assert_eq!(alone.as_object_mut().unwrap().remove("request_id").unwrap(), id.to_string());
        alone
    }

    #[test]
    fn a_refusal_has_every_field() {
        let decision =
            Decision { missing_scopes: vec!["a:b".into(), "c".into()], ..Decision::refused(Outcome::NotFound) };
        let expected = json!({
            "valid": false, "code": "NOT_FOUND", "key": null, "missing_scopes": ["a:b", "c"],
            "rate_limit": null, "rate_limits": [], "quota": null, "headers": {},
        });
        assert_eq!(answered(decision), expected);
        assert_eq!(serde_json::from_slice::<Value>(&many(&[]).unwrap()).unwrap(), json!({"data": []}));
    }

    #[test]
    fn the_nearest_limit_is_shown_besides_all_of_them() {
        let hourly = json!({
            "name": "key", "limit": 1000, "remaining": 997, "reset_at": "2025-11-24T17:00:00Z", "window_seconds": 3600,
        });
        let burst = json!({
            "name": "burst", "limit": 10, "remaining": 7, "reset_at": "2025-11-24T16:00:01Z", "window_seconds": 1,
        });
        let valid = |standings| Decision { standings, ..Decision::refused(Outcome::Valid) };
        let one = answered(valid(vec![taken("key", 1000, 3600)]));
        assert_eq!((&one["rate_limit"], &one["rate_limits"]), (&hourly, &json!([hourly])));
        let two = answered(valid(vec![taken("key", 1000, 3600), taken("burst", 10, 1)]));
        assert_eq!((&two["rate_limit"], &two["rate_limits"]), (&burst, &json!([hourly, burst])));
        assert_eq!(two["headers"]["RateLimit"], "\"key\";r=997;t=3600, \"burst\";r=7;t=1");
        assert_eq!(two["valid"], true);
    }

    #[test]
    fn a_second_is_printed_as_serde_prints_it() {
        for seconds in [-1_764_000_000, 0, 86_399, 5_356_800, 94_694_400, 8_000_000_000] {
            let mut out = Printer(Vec::new());
            out.second("\"", at(seconds));
            assert_eq!(out.0, serde_json::to_vec(&at(seconds)).unwrap());
        }
    }

    #[test]
    fn a_quota_is_shown() {
        let quota = QuotaState { quota: 100, remaining: 3, refills_at: None };
        let told = answered(Decision { quota: Some(quota), ..Decision::refused(Outcome::QuotaExceeded) });
        assert_eq!(told["quota"], json!({"limit": 100, "remaining": 3, "refills_at": null}));
    }
}

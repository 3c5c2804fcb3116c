//! Rate-limit headers: the traditional `X-RateLimit-…`, and draft-ietf-httpapi-ratelimit-headers-10, whose names may
//! still change.

use actix_web::http::header::{HeaderName, HeaderValue};

use crate::domain::usage::Outcome;
use crate::gate::{Decision, NamedStanding};

/// Policy name of a quota.
pub const QUOTA_POLICY: &str = "quota";

/// Parameter name in the draft: size of the limit.
const QUOTA: &str = "q";
/// Parameter name in the draft: window in seconds.
const WINDOW: &str = "w";
/// Parameter name in the draft: calls left.
const REMAINING: &str = "r";
/// Parameter name in the draft: seconds until more calls are possible.
const TIME: &str = "t";

/// Header names, as printed in JSON and as sent.
static NAMES: [(&str, HeaderName); 6] = [
    ("X-RateLimit-Limit", HeaderName::from_static("x-ratelimit-limit")),
    ("X-RateLimit-Remaining", HeaderName::from_static("x-ratelimit-remaining")),
    ("X-RateLimit-Reset", HeaderName::from_static("x-ratelimit-reset")),
    ("RateLimit-Policy", HeaderName::from_static("ratelimit-policy")),
    ("RateLimit", HeaderName::from_static("ratelimit")),
    ("Retry-After", HeaderName::from_static("retry-after")),
];

/// Returns header names as printed in JSON, with their values. `X-RateLimit-…` describe the nearest limit, the draft's
/// headers all limits.
pub fn texts(decision: &Decision) -> Vec<(&'static str, String)> {
    let Some(NamedStanding { standing: nearest, .. }) = decision.nearest() else { return Vec::new() };
    let all = &decision.standings;
    let policy = |one: &NamedStanding| {
        let limit = one.standing.limit;
        [(QUOTA, limit.quota), (WINDOW, limit.window_seconds)]
    };
    let left = |one: &NamedStanding| [(REMAINING, one.standing.remaining), (TIME, one.standing.more_in)];
    let mut headers = vec![
        ("X-RateLimit-Limit", number(nearest.limit.quota)),
        ("X-RateLimit-Remaining", number(nearest.remaining)),
        ("X-RateLimit-Reset", number(nearest.more_at.timestamp())),
        ("RateLimit-Policy", listed(all, policy)),
        ("RateLimit", listed(all, left)),
    ];
    if let Some(seconds) = retry_after(decision) {
        headers.push(("Retry-After", number(seconds)));
    }
    headers
}

fn number(value: impl itoa::Integer) -> String {
    itoa::Buffer::new().format(value).to_owned()
}

/// Formats limits like `"key";q=1000;w=3600, "burst";q=10;w=1`.
fn listed(all: &[NamedStanding], parameters: impl Fn(&NamedStanding) -> [(&'static str, u64); 2]) -> String {
    let (mut text, mut digits) = (String::with_capacity(48), itoa::Buffer::new());
    for one in all {
        let separator = if text.is_empty() { "\"" } else { ", \"" };
        text.extend([separator, &one.name, "\""]);
        for (name, value) in parameters(one) {
            text.extend([";", name, "=", digits.format(value)]);
        }
    }
    text
}

/// Returns the whole seconds until a refused call fits into every limit and the quota. `None` if waiting is useless: the
/// call never fits, or the key ends before.
pub fn retry_after(decision: &Decision) -> Option<u64> {
    if !matches!(decision.outcome, Outcome::RateLimited | Outcome::QuotaExceeded) {
        return None;
    }
    let limits =
        refusing(decision).map(|named| named.standing.retry_after.map(|wait| wait.max(named.standing.more_in)));
    let quota = decision.exceeds_quota.then_some(decision.quota_wait);
    let wait = limits.chain(quota).collect::<Option<Vec<_>>>()?.into_iter().max()?;
    decision.ends_in.is_none_or(|end| wait < end).then_some(wait)
}

fn refusing(decision: &Decision) -> impl Iterator<Item = &NamedStanding> {
    decision.standings.iter().filter(|named| !named.standing.is_allowed)
}

/// Returns the names of the limits that refused the call.
pub fn violated(decision: &Decision) -> Vec<&str> {
    let quota = decision.exceeds_quota.then_some(QUOTA_POLICY);
    refusing(decision).map(|named| &*named.name).chain(quota).collect()
}

/// Returns the headers of a response.
pub fn of(decision: &Decision) -> Vec<(HeaderName, HeaderValue)> {
    let parsed = texts(decision).into_iter().filter_map(|(name, value)| {
        let name = NAMES.iter().find(|(text, _)| *text == name)?.1.clone();
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    parsed.collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::limit::named::Per;
    use crate::domain::limit::{Limit, LimitState, Window};

    fn decision(outcome: Outcome, standings: Vec<(&str, LimitState)>) -> Decision {
        let standings =
            standings.into_iter().map(|(name, standing)| NamedStanding { name: name.into(), per: Per::Key, standing });
        Decision { outcome, standings: standings.collect(), ..Decision::refused(outcome) }
    }

    fn says(decision: &Decision) -> Vec<String> {
        texts(decision).iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn the_headers_are_the_documented_ones() {
        let now = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let mut window = Window::new(Limit { quota: 2, window_seconds: 3600 });
        window.take(now, 1);
        let allowed = says(&decision(Outcome::Valid, vec![("key", window.take(now, 1))]));
        assert_eq!(
            allowed,
            [
                "X-RateLimit-Limit: 2",
                "X-RateLimit-Remaining: 0",
                "X-RateLimit-Reset: 1764003600",
                "RateLimit-Policy: \"key\";q=2;w=3600",
                "RateLimit: \"key\";r=0;t=3600",
            ]
        );
        let refused = decision(Outcome::RateLimited, vec![("key", window.take(now, 1))]);
        assert_eq!(says(&refused).last().unwrap(), "Retry-After: 3600");
        assert_eq!(violated(&refused), ["key"]);
    }

    #[test]
    fn the_nearest_limit_of_several_is_shown_and_all_are_listed() {
        let now = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let taken = |quota, window_seconds, cost| Window::new(Limit { quota, window_seconds }).take(now, cost);
        let both = decision(Outcome::Valid, vec![("key", taken(1000, 3600, 1)), ("burst", taken(10, 1, 1))]);
        let texts = says(&both);
        assert_eq!(texts[1], "X-RateLimit-Remaining: 9");
        assert_eq!(texts[3], "RateLimit-Policy: \"key\";q=1000;w=3600, \"burst\";q=10;w=1");
        let refused = decision(Outcome::RateLimited, vec![("key", taken(1000, 3600, 1)), ("burst", taken(10, 1, 11))]);
        assert_eq!(violated(&refused), ["burst"]);
        assert_eq!(says(&refused)[0], "X-RateLimit-Limit: 10");
    }
}

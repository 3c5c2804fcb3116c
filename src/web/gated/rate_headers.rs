//! Rate-limit headers: the older ones, and draft-ietf-httpapi-ratelimit-headers-10, whose names are still moving.

use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use crate::domain::limit::Standing;

/// The name of the one policy.
pub const POLICY: &str = "key";

/// The draft's parameter names: quota, window, remaining, time until more.
const QUOTA: &str = "q";
const WINDOW: &str = "w";
const REMAINING: &str = "r";
const TIME: &str = "t";

/// Names as they are printed in JSON, and values.
pub fn texts(standing: &Standing) -> Vec<(&'static str, String)> {
    let limit = standing.limit;
    let mut headers = vec![
        ("X-RateLimit-Limit", limit.quota.to_string()),
        ("X-RateLimit-Remaining", standing.remaining.to_string()),
        ("X-RateLimit-Reset", standing.more_at.timestamp().to_string()),
        ("RateLimit-Policy", format!("\"{POLICY}\";{QUOTA}={};{WINDOW}={}", limit.quota, limit.window_seconds)),
        ("RateLimit", format!("\"{POLICY}\";{REMAINING}={};{TIME}={}", standing.remaining, standing.more_in)),
    ];
    if let Some(seconds) = standing.retry_after {
        headers.push(("Retry-After", seconds.max(standing.more_in).to_string()));
    }
    headers
}

/// For an answer.
pub fn of(standing: &Standing) -> Vec<(HeaderName, HeaderValue)> {
    let parsed = texts(standing).into_iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    });
    parsed.filter(|(name, _)| *name != RETRY_AFTER || !standing.is_allowed).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::limit::{Limit, Window};

    #[test]
    fn the_headers_are_those_of_the_contract() {
        let now = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let mut window = Window::new(Limit { quota: 2, window_seconds: 3600 });
        window.take(now, 1);
        let says = |standing: &Standing| {
            texts(standing).iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
        };
        let allowed = says(&window.take(now, 1));
        assert_eq!(
            allowed,
            [
                "X-RateLimit-Limit: 2",
                "X-RateLimit-Remaining: 0",
                "X-RateLimit-Reset: 1764003660",
                "RateLimit-Policy: \"key\";q=2;w=3600",
                "RateLimit: \"key\";r=0;t=3660",
            ]
        );
        assert_eq!(says(&window.take(now, 1)).last().unwrap(), "Retry-After: 3660");
    }
}

//! Time at which a form was filled, to detect a later change by another user.

use chrono::{DateTime, Utc};

/// Formats the time for a hidden field, in microseconds like the database.
pub fn seen(at: DateTime<Utc>) -> String {
    at.timestamp_micros().to_string()
}

/// Parses the hidden field. Returns `None` if it is empty, and the Unix epoch if it is invalid, so that the check
/// fails.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(text.parse().ok().and_then(DateTime::from_timestamp_micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_form() {
        let at = DateTime::from_timestamp_micros(1_764_000_000_123_456).unwrap();
        assert_eq!(parse(&seen(at)), Some(at));
        assert_eq!((parse(""), parse("soon")), (None, Some(DateTime::UNIX_EPOCH)));
    }
}

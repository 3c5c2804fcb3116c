//! The moment at which a form was filled, so that a later change by somebody else is not overwritten unseen.

use chrono::{DateTime, Utc};

/// As a hidden field carries it: microseconds, as exact as the database.
pub fn seen(at: DateTime<Utc>) -> String {
    at.timestamp_micros().to_string()
}

/// None where the form carries none. What is no moment at all was never seen.
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

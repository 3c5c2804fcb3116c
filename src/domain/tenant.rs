//! Tenants: their states, reasons for a suspension, and time zones.

use chrono::TimeDelta;

use super::error::{Rejection, Result};
use super::text;

/// Time for which a deleted tenant can be restored. After it all of its data is erased.
pub const RESTORABLE_FOR: TimeDelta = TimeDelta::days(30);

crate::text_enum! {
    /// State of a tenant. Keys are valid and deliveries go out only while it is active.
    pub enum TenantState {
        Active = "active",
        Suspended = "suspended",
        Deleted = "deleted",
    }
}

/// Parses the reason of a suspension, which members read: at most 200 characters, or nothing.
pub fn reason(text: &str) -> Result<Option<String>, Rejection> {
    let text = text.trim();
    if text.is_empty() { Ok(None) } else { text::line(text, 200).map(Some) }
}

/// Checks the form of a time zone's name in the IANA database: `Europe/Vienna`, `UTC`. Only the database knows which
/// zones exist.
pub fn time_zone(text: &str) -> Result<String, Rejection> {
    let text = text.trim();
    let is_word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
    };
    if (1..=64).contains(&text.len()) && text.split('/').all(is_word) { Ok(text.to_owned()) } else { Err(no_zone()) }
}

/// Returns the refusal of a time zone.
pub fn no_zone() -> Rejection {
    Rejection::new("time_zone", "must be a time zone such as Europe/Vienna or UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_named_as_the_iana_database_does() {
        for zone in ["UTC", "Europe/Vienna", "America/Argentina/Buenos_Aires", "Etc/GMT+1"] {
            assert_eq!(time_zone(zone).unwrap(), zone);
        }
        for zone in ["", "europe/vienna", "Europe/", "/etc/passwd", "Europe/../UTC", "UTC'", "posix/UTC"] {
            assert!(time_zone(zone).is_err(), "{zone}");
        }
    }

    #[test]
    fn a_reason_is_one_line_or_none() {
        assert_eq!(reason("  ").unwrap(), None);
        assert_eq!(reason(" unpaid ").unwrap().as_deref(), Some("unpaid"));
        assert!(reason("a\nb").is_err() && reason(&"x".repeat(201)).is_err());
    }
}

//! Orders of key lists, and a key's place in each of them, which a cursor holds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Utc};

use super::super::ApiKeyId;
use super::super::error::Rejection;

crate::text_enum! {
    /// Order of a key list.
    pub enum KeySort {
        Newest = "newest",
        Name = "name",
        /// Last use, latest first; keys never used come last.
        LastUsed = "last_used",
        /// Expiry, next one first; keys that never expire come last.
        Expires = "expires",
    }
}

/// Place of a key in a sorted list. It holds the sort value, since the key's own may change between two pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMark {
    /// Sort value of the key.
    pub place: SortValue,
    /// Id of the key, for keys with equal values.
    pub id: ApiKeyId,
}

/// Sort value of a key, by order. Times are UTC; `None` stands for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortValue {
    Newest,
    Name(String),
    LastUsed(Option<DateTime<Utc>>),
    Expires(Option<DateTime<Utc>>),
}

impl KeyMark {
    /// Returns the order that the place belongs to.
    pub fn sort(&self) -> KeySort {
        match self.place {
            SortValue::Newest => KeySort::Newest,
            SortValue::Name(_) => KeySort::Name,
            SortValue::LastUsed(_) => KeySort::LastUsed,
            SortValue::Expires(_) => KeySort::Expires,
        }
    }
}

impl fmt::Display for KeyMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.place {
            SortValue::Newest => write!(f, "{id}"),
            SortValue::Name(name) => write!(f, "{}:{id}:{name}", self.sort()),
            SortValue::LastUsed(at) | SortValue::Expires(at) => {
                write!(
                    f,
                    "{}:{id}:{}",
                    self.sort(),
                    at.map_or_else(String::new, |at| at.timestamp_micros().to_string())
                )
            }
        }
    }
}

impl FromStr for KeyMark {
    type Err = Rejection;

    /// Parses a cursor. Clients may send any text, so values that Postgres would reject are refused here.
    fn from_str(text: &str) -> Result<Self, Rejection> {
        let refused = || Rejection::new("cursor", "is not a cursor of this list");
        let Some((sort, rest)) = text.split_once(':') else {
            return Ok(Self { place: SortValue::Newest, id: text.parse()? });
        };
        let (id, value) = rest.split_once(':').ok_or_else(refused)?;
        let place = match sort.parse()? {
            KeySort::Newest => return Err(refused()),
            KeySort::Name if value.contains('\0') || 100 < value.chars().count() => return Err(refused()),
            KeySort::Name => SortValue::Name(value.to_owned()),
            KeySort::LastUsed => SortValue::LastUsed(moment(value).ok_or_else(refused)?),
            KeySort::Expires => SortValue::Expires(moment(value).ok_or_else(refused)?),
        };
        Ok(Self { place, id: id.parse()? })
    }
}

/// Parses microseconds since 1970; an empty text is no time.
fn moment(micros: &str) -> Option<Option<DateTime<Utc>>> {
    if micros.is_empty() {
        return Some(None);
    }
    let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
    (1970..=10_000).contains(&at.year()).then_some(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_can_be_written_and_parsed_again() {
        let at = DateTime::from_timestamp_micros(1_764_000_000_123_456);
        for place in [
            SortValue::Newest,
            SortValue::Name("a:b: ü".into()),
            SortValue::Name(String::new()),
            SortValue::LastUsed(at),
            SortValue::LastUsed(None),
            SortValue::Expires(at),
            SortValue::Expires(None),
        ] {
            let mark = KeyMark { place, id: ApiKeyId(7) };
            assert_eq!(mark.to_string().parse::<KeyMark>(), Ok(mark));
        }
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for junk in ["", "x", "name:7", "newest:7:", "name:x:a", "name:7:\0", "expires:7:x", "color:7:red"] {
            assert!(junk.parse::<KeyMark>().is_err(), "{junk:?}");
        }
        assert!(format!("last_used:7:{}", i64::MAX).parse::<KeyMark>().is_err());
        assert!(format!("last_used:7:{}", -1_000_000_000_000_000_000_i64).parse::<KeyMark>().is_err());
        assert!(format!("name:7:{}", "x".repeat(101)).parse::<KeyMark>().is_err());
    }
}

//! Named limits beside a key's first one, for the key or for all keys of its owner together.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::super::error::{FieldErrors, Rejection};
use super::Limit;

/// Name of a key's first limit.
pub const FIRST: &str = "key";
/// Maximum number of limits beside the first one.
const MOST: usize = 5;
/// Longest name in bytes.
const LONGEST_NAME: usize = 32;
/// Largest limit in one window.
const MOST_QUOTA: i64 = 1_000_000_000;
/// Longest window in seconds: 30 days.
const LONGEST_WINDOW: i64 = 2_592_000;

crate::text_enum! {
    /// Keys that share the counters of a limit.
    pub enum Per {
        /// The key, with the keys that it was rotated from and into.
        Key = "key",
        /// All keys of the tenant with the same owner. A key without an owner counts alone.
        Owner = "owner",
    }
}

/// A named limit, as requests and rows write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedLimit {
    /// Name of the limit, unique on its key.
    pub name: String,
    /// Maximum number of calls in one window.
    pub limit: i64,
    /// Length of the window in seconds.
    pub window_seconds: i64,
    /// Keys that share the counters; the key alone by default.
    #[serde(default = "per_key", deserialize_with = "per_or_key")]
    pub per: Per,
}

const fn per_key() -> Per {
    Per::Key
}

/// Reads the field `per`; `null` counts as absent.
fn per_or_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Per, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(Per::Key))
}

impl NamedLimit {
    /// Returns the limit for a [`Window`](super::Window).
    pub fn limit(&self) -> Limit {
        Limit {
            quota: u64::try_from(self.limit).unwrap_or(1),
            window_seconds: u64::try_from(self.window_seconds).unwrap_or(1),
        }
    }

    /// Parses one line of a form: `burst 10/1` or `team 1000/3600 owner`.
    pub fn parse_line(line: &str) -> Result<Self, Rejection> {
        let refused = || Rejection::new("limit", "must look like: burst 10/1, or: team 1000/3600 owner");
        let mut words = line.split_whitespace();
        let (Some(name), Some(rate), per, None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(refused());
        };
        let (limit, window) = rate.split_once('/').ok_or_else(refused)?;
        Ok(Self {
            name: name.to_owned(),
            limit: limit.parse().map_err(|_| refused())?,
            window_seconds: window.trim_end_matches('s').parse().map_err(|_| refused())?,
            per: per.map_or(Ok(Per::Key), str::parse).map_err(|_| refused())?,
        })
    }

    /// Writes the limit as one line of a form.
    pub fn line(&self) -> String {
        let per = if self.per == Per::Owner { " owner" } else { "" };
        format!("{} {}/{}{per}", self.name, self.limit, self.window_seconds)
    }
}

/// Checks limits together: each by itself, and that no name is used twice.
pub fn check(errors: &mut FieldErrors, limits: Vec<NamedLimit>) -> Vec<NamedLimit> {
    if MOST < limits.len() {
        errors.add("limits", Rejection::new("too_many", format!("must be at most {MOST}, beside rate_limit")));
        return Vec::new();
    }
    for (index, one) in limits.iter().enumerate() {
        let is_repeated = limits.iter().take(index).any(|other| other.name == one.name);
        let place = |field: &str| format!("limits[{index}].{field}");
        errors.take(place("name"), name(&one.name, is_repeated));
        errors.take(place("limit"), in_range(one.limit, MOST_QUOTA));
        errors.take(place("window_seconds"), in_range(one.window_seconds, LONGEST_WINDOW));
    }
    limits
}

fn name(name: &str, is_repeated: bool) -> Result<(), Rejection> {
    let fits = (1..=LONGEST_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c));
    match fits {
        false => Err(Rejection::new("name", format!("must be 1 to {LONGEST_NAME} of a-z, 0-9, _ and -"))),
        true if name == FIRST => Err(Rejection::new("name", "is the name of the first limit: rate_limit")),
        true if is_repeated => Err(Rejection::new("repeated", "is already used by another limit")),
        true => Ok(()),
    }
}

fn in_range(number: i64, most: i64) -> Result<(), Rejection> {
    if (1..=most).contains(&number) {
        Ok(())
    } else {
        Err(Rejection::new("range", format!("must be from 1 to {most}")))
    }
}

/// Reads the limits of a row. Limits of another version that this one can't read are ignored.
pub fn of_row(value: &Value) -> Vec<NamedLimit> {
    NamedLimits::deserialize(value).map(|limits| limits.0).unwrap_or_default()
}

/// Writes limits for a row.
pub fn to_row(limits: &[NamedLimit]) -> Value {
    serde_json::to_value(limits).unwrap_or_else(|_| Value::Array(Vec::new()))
}

#[derive(Deserialize)]
struct NamedLimits(Vec<NamedLimit>);

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, limit: i64, window_seconds: i64) -> NamedLimit {
        NamedLimit { name: name.into(), limit, window_seconds, per: Per::Key }
    }

    fn fields(limits: Vec<NamedLimit>) -> Vec<String> {
        let mut errors = FieldErrors::default();
        check(&mut errors, limits);
        errors.iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn names_are_unique_and_numbers_in_range() {
        assert!(fields(vec![limit("burst", 10, 1), limit("per-day", 1000, 86_400)]).is_empty());
        assert_eq!(fields(vec![limit("key", 10, 1)]), ["limits[0].name"]);
        assert_eq!(
            fields(vec![limit("a", 1, 1), limit("a", 0, 2_592_001)]),
            ["limits[1].name", "limits[1].limit", "limits[1].window_seconds"]
        );
        assert_eq!(fields(vec![limit("a", 1, 1); 6]), ["limits"]);
    }

    #[test]
    fn a_line_of_a_form_is_parsed_as_a_limit() {
        let team = NamedLimit { per: Per::Owner, ..limit("team", 1000, 3600) };
        assert_eq!(NamedLimit::parse_line(" team  1000/3600s owner").unwrap(), team);
        assert_eq!(NamedLimit::parse_line(&team.line()).unwrap(), team);
        assert_eq!(NamedLimit::parse_line("burst 10/1").unwrap(), limit("burst", 10, 1));
        for bad in ["", "burst", "burst 10", "burst ten/1", "burst 10/1 tenant", "burst 10/1 key more"] {
            assert!(NamedLimit::parse_line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_can_be_stored_and_read_again() {
        let limits = vec![limit("burst", 10, 1)];
        assert_eq!(of_row(&to_row(&limits)), limits);
        assert!(of_row(&Value::Null).is_empty());
    }
}

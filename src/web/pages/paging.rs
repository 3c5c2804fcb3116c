//! Where a page of a list begins, as its URL says.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::domain::page::{PageSize, Paging, parse_cursor};
use crate::domain::{FieldErrors, Rejection};

/// The part of a list's query that is about paging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Place {
    pub before: String,
    pub after: String,
    #[serde(flatten)]
    pub others: Others,
}

/// Parameters that a page does not know. Flattened last, it takes what the fields before it left.
#[derive(Debug, Clone, Default)]
pub struct Others(Vec<String>);

impl<'de> Deserialize<'de> for Others {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(left.into_keys().collect()))
    }
}

impl Others {
    /// Notes each of them.
    pub fn noted(&self) -> FieldErrors {
        let mut errors = FieldErrors::default();
        for name in &self.0 {
            errors.add(name, Rejection::new("unknown", "is no parameter of this page"));
        }
        errors
    }
}

impl Place {
    /// Notes the parameters that the page does not know, and cursors that are none of this list.
    pub fn noted<K: FromStr>(&self) -> FieldErrors {
        let mut errors = self.others.noted();
        for (name, text) in [("before", &self.before), ("after", &self.after)] {
            if !text.is_empty() {
                errors.take(name, parse_cursor::<K>(text));
            }
        }
        errors
    }

    /// A cursor that is none of this list leads to the first page.
    pub fn paging<K: FromStr>(&self, size: i64) -> Paging<K> {
        let size = PageSize::new(size).unwrap_or_default();
        let key = |text: &str| if text.is_empty() { None } else { parse_cursor(text).ok() };
        Paging { size, before: key(&self.before), after: key(&self.after), offset: None }
    }
}

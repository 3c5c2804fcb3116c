//! Page parameters in the URL of a list.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

use crate::domain::FieldErrors;
use crate::domain::page::{PageSize, Paging, parse_cursor};
use crate::web::shell::unknown_parameters;

/// Cursors in the query of a list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PagePlace {
    pub before: String,
    pub after: String,
    #[serde(flatten)]
    pub others: UnknownParameters,
}

/// Unknown parameters of a page. Flattened last, the field collects all names that the fields before it left over.
#[derive(Debug, Clone, Default)]
pub struct UnknownParameters(Vec<String>);

impl<'de> Deserialize<'de> for UnknownParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(left.into_keys().collect()))
    }
}

impl UnknownParameters {
    /// Returns an error for each unknown parameter.
    pub fn noted(&self) -> FieldErrors {
        unknown_parameters(self.0.iter().cloned())
    }
}

impl PagePlace {
    /// Returns an error for each unknown parameter, and for each cursor that does not belong to this list.
    pub fn noted<K: FromStr>(&self) -> FieldErrors {
        let mut errors = self.others.noted();
        for (name, text) in [("before", &self.before), ("after", &self.after)] {
            if !text.is_empty() {
                errors.take(name, parse_cursor::<K>(text));
            }
        }
        errors
    }

    /// Returns the page to read. A cursor that does not belong to this list gives the first page.
    pub fn paging<K: FromStr>(&self, size: i64) -> Paging<K> {
        let size = PageSize::new(size).unwrap_or_default();
        let key = |text: &str| if text.is_empty() { None } else { parse_cursor(text).ok() };
        Paging { size, before: key(&self.before), after: key(&self.after), offset: None }
    }
}

//! Where a page of a list begins, as its URL says.

use std::str::FromStr;

use serde::Deserialize;

use crate::domain::page::{PageSize, Paging, parse_cursor};

/// The part of a list's query that is about paging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Place {
    pub before: String,
    pub after: String,
}

impl Place {
    /// A cursor that nobody could have got from us leads to the first page.
    pub fn paging<K: FromStr>(&self, size: i64) -> Paging<K> {
        let size = PageSize::new(size).unwrap_or_default();
        let key = |text: &str| if text.is_empty() { None } else { parse_cursor(text).ok() };
        Paging { size, before: key(&self.before), after: key(&self.after), offset: None }
    }
}

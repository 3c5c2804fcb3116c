//! Links to the previous and next page of a keyset-paged list.

use askama::Template;

use super::filter::href;
use crate::domain::page::{Page, cursor};

/// Links to the newer and older page.
#[derive(Debug, Clone, Default, Template)]
#[template(path = "components/pager.html")]
pub struct Pager {
    pub newer: Option<String>,
    pub older: Option<String>,
}

impl askama::filters::HtmlSafe for Pager {}

impl Pager {
    /// Returns links to the pages next to `page`, with the current filters.
    pub fn new<T, K: ToString>(path: &str, filters: &[(&str, &str)], page: &Page<T, K>) -> Self {
        let link = |direction: &'static str, key: &K| {
            let key = cursor(key.to_string());
            let mut parameters = filters.to_vec();
            parameters.push((direction, &key));
            href(path, &parameters)
        };
        Self {
            newer: page.newer.as_ref().map(|key| link("after", key)),
            older: page.older.as_ref().map(|key| link("before", key)),
        }
    }
}

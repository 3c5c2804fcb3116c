//! Lists of the API: page parameters and the response envelope.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::page::{Page, PageSize, Paging, cursor, parse_cursor};
use crate::domain::{Error, FieldErrors, Rejection, Result};

/// Envelope of a list: `{"data": […], "next_cursor": …, "total": n}`.
#[derive(Debug, Serialize)]
pub struct List<T> {
    /// Rows of this page.
    pub data: Vec<T>,
    /// Cursor of the next page, or `null` on the last one.
    pub next_cursor: Option<String>,
    /// Number of all rows, if they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
}

impl<T> List<T> {
    pub fn new<K: Display + Clone>(page: Page<T, K>) -> Self {
        Self { next_cursor: page.older.map(cursor), total: page.total, data: page.rows }
    }
}

/// Parses `limit`, `cursor` and `offset`. A request may have a cursor or an offset, not both.
pub fn paging<K: FromStr>(limit: Option<i64>, from: Option<&str>, offset: Option<i64>) -> Result<Paging<K>> {
    let mut errors = FieldErrors::default();
    let size = errors.take("limit", limit.map_or_else(|| Ok(PageSize::default()), PageSize::new));
    let before = errors.take("cursor", from.map(parse_cursor).transpose());
    let offset = errors.take("offset", parse_offset(offset, from.is_some()));
    match (size, before, offset) {
        (Some(size), Some(before), Some(offset)) => Ok(Paging { size, before, after: None, offset }),
        _ => Err(Error::from(errors)),
    }
}

/// Largest offset. Deep offsets cost the database as much as the rows that they skip.
const DEEPEST: i64 = 100_000;

fn parse_offset(offset: Option<i64>, has_cursor: bool) -> Result<Option<i64>, Rejection> {
    match offset {
        Some(_) if has_cursor => Err(Rejection::new("conflict", "cannot be given together with cursor")),
        Some(offset) if !(0..=DEEPEST).contains(&offset) => {
            Err(Rejection::new("range", format!("must be from 0 to {DEEPEST}: beyond it, use cursor")))
        }
        offset => Ok(offset),
    }
}

/// Query of a list without filters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
/// Number of rows per page.
pub struct PagingQuery {
    /// Cursor of the page's start, from `next_cursor`.
    limit: Option<i64>,
    /// Number of rows to skip, instead of a cursor.
    cursor: Option<String>,
    offset: Option<i64>,
}

impl PagingQuery {
    pub fn paging<K: FromStr>(&self) -> Result<Paging<K>> {
        paging(self.limit, self.cursor.as_deref(), self.offset)
    }
}

/// Maximum length of a text filter, in characters.
const LONGEST_TEXT: usize = 200;

/// Parses a text filter: trims it, and returns `None` if nothing is left. Replaces NUL, which Postgres text cannot
/// hold, by a character that matches nothing.
pub fn narrowing(text: Option<&str>) -> Result<Option<String>, Rejection> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    if text.is_some_and(|text| LONGEST_TEXT < text.chars().count()) {
        return Err(Rejection::new("too_long", format!("must be at most {LONGEST_TEXT} characters")));
    }
    Ok(text.map(|text| text.replace('\0', "\u{fffd}")))
}

/// Parses the text filter of this field.
pub fn text(field: &str, text: Option<String>) -> Result<Option<String>> {
    narrowing(text.as_deref()).map_err(|rejection| Error::field(field, rejection))
}

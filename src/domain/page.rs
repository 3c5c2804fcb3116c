//! Pages of a list: how many rows, and where to go on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::Rejection;

/// Rows in one answer: 1 to 100, 50 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(i64);

impl PageSize {
    pub const MAX: i64 = 100;

    pub fn new(size: i64) -> Result<Self, Rejection> {
        match size {
            1..=Self::MAX => Ok(Self(size)),
            _ => Err(Rejection::new("range", "must be from 1 to 100")),
        }
    }

    pub fn get(self) -> i64 {
        self.0
    }

    /// One more than asked, to learn whether there is a next page.
    pub fn plus_one(self) -> i64 {
        self.0 + 1
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(50)
    }
}

/// Which rows of a list, newest first: those before the row `K`, or after an offset.
#[derive(Debug, Clone, Copy)]
pub struct Paging<K> {
    pub size: PageSize,
    /// Rows older than this one.
    pub before: Option<K>,
    /// Rows newer than this one (the way back).
    pub after: Option<K>,
    pub offset: Option<i64>,
}

impl<K> Default for Paging<K> {
    fn default() -> Self {
        Self { size: PageSize::default(), before: None, after: None, offset: None }
    }
}

/// One page of rows, newest first, and where the neighbouring ones begin.
#[derive(Debug, Clone)]
pub struct Page<T, K> {
    pub rows: Vec<T>,
    pub older: Option<K>,
    pub newer: Option<K>,
    /// Only with `offset`, and only where counting is cheap.
    pub total: Option<i64>,
}

impl<T, K: Clone> Page<T, K> {
    /// From rows fetched with `size.plus_one()`: newest first, or oldest first where `paging.after` was given.
    pub fn cut(mut rows: Vec<T>, paging: &Paging<K>, key: impl Fn(&T) -> K) -> Self {
        let size = usize::try_from(paging.size.get()).unwrap_or(usize::MAX);
        let has_more = size < rows.len();
        rows.truncate(size);
        if paging.after.is_some() {
            rows.reverse();
        }
        let (first, last) = (rows.first().map(&key), rows.last().map(&key));
        let (older, newer) = match (&paging.after, &paging.before) {
            (Some(_), _) => (last, first.filter(|_| has_more)),
            (None, Some(_)) => (last.filter(|_| has_more), first),
            (None, None) => (last.filter(|_| has_more), None),
        };
        Self { rows, older, newer, total: None }
    }

    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U, K> {
        Page {
            rows: self.rows.into_iter().map(convert).collect(),
            older: self.older,
            newer: self.newer,
            total: self.total,
        }
    }
}

/// An opaque cursor: the key of a row, in base64url.
pub fn cursor(key: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

pub fn parse_cursor<K: std::str::FromStr>(text: &str) -> Result<K, Rejection> {
    let refused = || Rejection::new("cursor", "is not a cursor of this list");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    String::from_utf8(bytes).ok().and_then(|key| key.parse().ok()).ok_or_else(refused)
}

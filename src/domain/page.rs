//! Paging of lists: page sizes, places and cursors.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::Rejection;

/// Rows of one page: 1 to 100, 50 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSize(i64);

impl PageSize {
    /// Maximum number of rows of one page.
    pub const MAX: i64 = 100;

    /// Checks a page size.
    pub fn new(size: i64) -> Result<Self, Rejection> {
        match size {
            1..=Self::MAX => Ok(Self(size)),
            _ => Err(Rejection::new("range", "must be from 1 to 100")),
        }
    }

    /// Returns the number of rows.
    pub fn get(self) -> i64 {
        self.0
    }

    /// Returns one row more than the page holds, which shows if another page follows.
    pub fn plus_one(self) -> i64 {
        self.0 + 1
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(50)
    }
}

/// Position of a page in a list, newest first: before or after the row `K`, or at an offset.
#[derive(Debug, Clone, Copy)]
pub struct Paging<K> {
    /// Rows of the page.
    pub size: PageSize,
    /// Only rows older than this one.
    pub before: Option<K>,
    /// Only rows newer than this one, for the way back.
    pub after: Option<K>,
    /// Rows to skip.
    pub offset: Option<i64>,
}

impl<K> Default for Paging<K> {
    fn default() -> Self {
        Self { size: PageSize::default(), before: None, after: None, offset: None }
    }
}

/// One page of rows, newest first, with the places of its neighbours.
#[derive(Debug, Clone)]
pub struct Page<T, K> {
    /// Rows of the page.
    pub rows: Vec<T>,
    /// Last row of this page, if an older page follows.
    pub older: Option<K>,
    /// First row of this page, if a newer page precedes.
    pub newer: Option<K>,
    /// Number of all rows; set only with `offset`, and only if counting is cheap.
    pub total: Option<i64>,
}

impl<T, K: Clone> Page<T, K> {
    /// Builds a page from rows fetched with `size.plus_one()`: newest first, or oldest first if `paging.after` is set.
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

    /// Converts each row.
    pub fn map<U>(self, convert: impl FnMut(T) -> U) -> Page<U, K> {
        Page {
            rows: self.rows.into_iter().map(convert).collect(),
            older: self.older,
            newer: self.newer,
            total: self.total,
        }
    }
}

/// The first rows of a list that is shown without pages.
#[derive(Debug, Clone)]
pub struct Capped<T> {
    pub rows: Vec<T>,
    /// True if there are more rows than these.
    pub is_capped: bool,
}

impl<T> Capped<T> {
    /// Keeps at most `most` rows. The caller fetches one more, so that the cut is noticed.
    pub fn cut(mut rows: Vec<T>, most: i64) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let is_capped = most < rows.len();
        rows.truncate(most);
        Self { rows, is_capped }
    }
}

/// Writes an opaque cursor: the key of a row in base64url.
pub fn cursor(key: impl ToString) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

/// Reads a cursor.
pub fn parse_cursor<K: std::str::FromStr>(text: &str) -> Result<K, Rejection> {
    let refused = || Rejection::new("cursor", "is not a cursor of this list");
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| refused())?;
    String::from_utf8(bytes).ok().and_then(|key| key.parse().ok()).ok_or_else(refused)
}

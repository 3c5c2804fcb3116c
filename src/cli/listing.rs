//! Lists of the command line: the requested page, a table of its rows, and the cursor of the next one.

use std::fmt::Display;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};

use super::console::actor_in;
use super::say;
use crate::app::Failure;
use crate::domain::page::{Page, PageSize, Paging, cursor, parse_cursor};
use crate::domain::{Rejection, Result as Done};
use crate::store::{Scope, Tx};

/// Returns the page that `--limit` and `--cursor` select.
pub fn paging<K: FromStr>(limit: i64, given: Option<&str>) -> Result<Paging<K>, Failure> {
    let refused = |field| move |rejection: Rejection| Failure::new(format!("{field} {}", rejection.detail));
    let before = given.map(parse_cursor).transpose().map_err(refused("cursor"))?;
    Ok(Paging { size: PageSize::new(limit).map_err(refused("limit"))?, before, after: None, offset: None })
}

/// Enters and returns the scope that `--tenant` selects. Without it, a list covers the instance.
pub fn scope(tx: &mut Tx<'_>, tenant: Option<&str>) -> Done<Scope> {
    let Some(slug) = tenant else { return Ok(Scope::Instance) };
    let scope = Scope::Tenant(actor_in(tx, slug)?.tenant);
    // The search finds rare words through a view that shows the keys of the entered tenant.
    tx.enter(scope)?;
    Ok(scope)
}

/// Prints a line per row under these headings, each with the width of its column.
pub fn print<T, K: Display, const N: usize>(
    noun: &str,
    columns: [(&str, usize); N],
    page: Page<T, K>,
    cells: impl Fn(&T) -> [String; N],
) -> Result<(), Failure> {
    if page.rows.is_empty() {
        eprintln!("No {noun} matches.");
        return Ok(());
    }
    let line = |cells: [String; N]| {
        let padded = cells.iter().zip(columns).map(|(cell, (_, width))| format!("{cell:<width$}"));
        say(padded.collect::<Vec<_>>().join(" ").trim_end())
    };
    line(columns.map(|(heading, _)| heading.to_owned()))?;
    page.rows.iter().try_for_each(|row| line(cells(row)))?;
    if let Some(next) = page.older {
        eprintln!("More results exist: repeat the command with --cursor {}", cursor(next));
    }
    Ok(())
}

/// Prints a time to the second in UTC.
pub fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

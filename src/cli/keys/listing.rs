//! Command `gatepost keys list`.

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;

use crate::app::Failure;
use crate::cli::console::Console;
use crate::cli::{listing, say};
use crate::config::Settings;
use crate::domain::api_key::{Environment, KeyMark, KeySort, KeyState};
use crate::domain::page::{PageSize, Paging};
use crate::domain::{Rejection, scope};
use crate::services::api_keys::{self, KeyFilter};
use crate::web::api::api_keys::KeyBody;
use crate::web::api::list;

#[derive(Debug, Args)]
pub struct List {
    /// Slug of the tenant. Default: all tenants.
    #[arg(long)]
    tenant: Option<String>,
    /// Search in names, hints, ids, owners and tags.
    #[arg(long, short)]
    q: Option<String>,
    /// Only keys in this state: active, rotating, disabled, expired, revoked or deleted.
    #[arg(long, value_parser = word::<KeyState>)]
    state: Option<KeyState>,
    /// Only keys of this environment: live or test.
    #[arg(long, value_parser = word::<Environment>)]
    environment: Option<Environment>,
    /// Only keys of exactly this owner.
    #[arg(long)]
    owner: Option<String>,
    /// Only keys with this scope, directly or through a wildcard.
    #[arg(long, value_parser = wanted)]
    scope: Option<String>,
    /// Only keys with this tag.
    #[arg(long)]
    tag: Option<String>,
    /// Only keys not used for this many days.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    unused_days: Option<u16>,
    /// Only keys that expire within this many days.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    expiring_days: Option<u16>,
    /// Order of the rows: newest, name, last_used or expires.
    #[arg(long, value_parser = word::<KeySort>, default_value = "newest")]
    sort: KeySort,
    /// Number of rows to print.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=PageSize::MAX), default_value = "50")]
    limit: i64,
    /// Cursor that the previous page printed.
    #[arg(long)]
    cursor: Option<String>,
}

fn word<T: std::str::FromStr<Err = Rejection>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|rejection: Rejection| rejection.detail)
}

fn wanted(text: &str) -> Result<String, String> {
    scope::parse(text).map_err(|rejection| rejection.detail)
}

impl List {
    fn filter(&self, now: DateTime<Utc>) -> KeyFilter {
        let days = |days: u16| TimeDelta::days(days.into());
        KeyFilter {
            text: self.q.clone(),
            state: self.state,
            environment: self.environment,
            user: None,
            is_active: None,
            owner: self.owner.clone(),
            scopes: self.scope.as_deref().map(scope::allowing).unwrap_or_default(),
            tag: self.tag.clone(),
            unused_since: self.unused_days.map(|length| now - days(length)),
            expiring_until: self.expiring_days.map(|length| now + days(length)),
        }
    }

    fn paging(&self) -> Result<Paging<KeyMark>, Failure> {
        let paging: Paging<KeyMark> = listing::paging(self.limit, self.cursor.as_deref())?;
        if paging.before.as_ref().is_some_and(|mark| mark.sort() != self.sort) {
            return Err(Failure::new("cursor belongs to a list with another order: give the same --sort"));
        }
        Ok(paging)
    }
}

pub fn run(settings: &Settings, ask: List, json: bool) -> Result<(), Failure> {
    let paging = ask.paging()?;
    let mut house = Console::open(settings)?;
    let now = house.clock.now();
    let page = house.tx(|tx, _| {
        let scope = listing::scope(tx, ask.tenant.as_deref())?;
        api_keys::list(tx, scope, &ask.filter(now), ask.sort, &paging)
    })?;
    if json {
        let list = list::List::new(page.map(|key| KeyBody::new(key, now)));
        return say(&serde_json::to_string(&list).map_err(|error| Failure::new(error.to_string()))?);
    }
    let time = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), listing::second);
    let columns = [
        ("ID", 8),
        ("TENANT", 6),
        ("STATE", 8),
        ("ENV", 4),
        ("HINT", 24),
        ("LAST USED", 20),
        ("EXPIRES", 20),
        ("NAME", 0),
    ];
    listing::print("key", columns, page, |key| {
        [
            key.id.to_string(),
            key.tenant_id.to_string(),
            key.state(now).to_string(),
            key.environment.to_string(),
            key.hint.clone(),
            time(key.last_used_at),
            time(key.ends_at()),
            key.name.clone(),
        ]
    })
}

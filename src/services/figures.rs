//! Figures for pages at a glance: sparklines, busiest items, and what needs attention.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use crate::domain::page::Capped;
use crate::domain::{Actor, ApiKeyId, Permission, Result, WebhookId};
use crate::store::delivery_totals::{self, Finished};
use crate::store::figures::{self, KeyAtTime, TenantSetup, Troubled};
use crate::store::{self, Tx};

const HOURS: usize = 24;
const HOURS_OF_A_WEEK: i64 = 168;
/// Upper bound when counting waiting deliveries.
pub const MOST_WAITING: i64 = 10_000;
const MOST_WORRIES: i64 = 5;

/// 24 counts by id, one per hour, oldest first. Ids without any activity are absent.
pub type Hours = BTreeMap<i64, Vec<i64>>;

pub fn hours_of_keys(tx: &mut Tx<'_>, actor: &Actor, keys: &[ApiKeyId]) -> Result<Hours> {
    actor.must(Permission::ReadUsage)?;
    let now = tx.now;
    let rows = figures::hours_of_keys(tx, actor.tenant, keys, now)?;
    let mut hours = Hours::new();
    rows.iter().for_each(|row| add(&mut hours, row.id, row.hours_ago, row.total));
    Ok(hours)
}

fn add(hours: &mut Hours, id: i64, hours_ago: i64, total: i64) {
    let line = hours.entry(id).or_insert_with(|| vec![0; HOURS]);
    let ago = usize::try_from(hours_ago).unwrap_or(HOURS);
    if let Some(hour) = HOURS.checked_sub(ago.saturating_add(1)).and_then(|index| line.get_mut(index)) {
        *hour += total;
    }
}

/// Numbers of attempts made and succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempts {
    pub made: i64,
    pub succeeded: i64,
}

/// Attempts of webhooks: by hour for the last day, and in total for the last week.
#[derive(Debug, Clone, Default)]
pub struct WebhookFigures {
    pub hours: Hours,
    pub week: BTreeMap<WebhookId, Attempts>,
}

pub fn of_webhooks(tx: &mut Tx<'_>, actor: &Actor, webhooks: &[WebhookId]) -> Result<WebhookFigures> {
    let now = tx.now;
    actor.must(Permission::ReadWebhooks)?;
    let mut figures = WebhookFigures::default();
    for row in delivery_totals::hours(tx, actor.tenant, webhooks, HOURS_OF_A_WEEK, now)? {
        add(&mut figures.hours, row.id.0, row.hours_ago, row.attempts);
        let week = figures.week.entry(row.id).or_default();
        week.made += row.attempts;
        week.succeeded += row.successes;
    }
    Ok(figures)
}

/// Finished deliveries of a time span, and the number that still wait.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    pub finished: Vec<Finished>,
    /// Counted up to [`MOST_WAITING`].
    pub waiting: i64,
}

impl Deliveries {
    pub fn delivered(&self) -> i64 {
        self.finished.iter().map(|row| row.delivered).sum()
    }

    pub fn failed(&self) -> i64 {
        self.finished.iter().map(|row| row.failed).sum()
    }
}

pub fn deliveries(
    conn: &mut PgConnection,
    actor: &Actor,
    webhook: Option<WebhookId>,
    since: DateTime<Utc>,
    step_seconds: i64,
) -> Result<Deliveries> {
    actor.must(Permission::ReadEvents)?;
    Ok(Deliveries {
        finished: delivery_totals::finished(conn, actor.tenant, webhook, since, step_seconds)?,
        waiting: delivery_totals::waiting(conn, actor.tenant, webhook, MOST_WAITING)?,
    })
}

/// State of a tenant, with keys and webhooks that need attention.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Number of active keys. A replaced key is not counted: its successor is.
    pub active_keys: i64,
    pub standing: TenantSetup,
    pub expiring: Capped<KeyAtTime>,
    pub idle: Capped<KeyAtTime>,
    pub troubled: Capped<Troubled>,
}

pub fn overview(tx: &mut Tx<'_>, actor: &Actor) -> Result<Overview> {
    let now = tx.now;
    actor.must(Permission::ReadKeys)?;
    let most = MOST_WORRIES + 1;
    Ok(Overview {
        active_keys: store::key_counts::find(tx, actor.tenant, now)?.active,
        standing: figures::standing(tx, actor.tenant)?,
        expiring: Capped::cut(figures::expiring_keys(tx, actor.tenant, now, most)?, MOST_WORRIES),
        idle: Capped::cut(figures::idle_keys(tx, actor.tenant, now, most)?, MOST_WORRIES),
        troubled: Capped::cut(figures::troubled_webhooks(tx, actor.tenant, most)?, MOST_WORRIES),
    })
}

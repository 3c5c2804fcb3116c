//! What pages tell at a glance: sparklines, the busiest, and what needs somebody's attention.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use crate::domain::{Actor, ApiKeyId, Permission, Result, WebhookId};
use crate::store::figures::{self, HourRow, KeySum, Named, OutcomeSum, Standing, StateRow, Troubled};

const HOURS: usize = 24;
const MOST_SHARES: i64 = 10;
const MOST_WORRIES: i64 = 5;

/// 24 numbers, the oldest hour first, by id; none for those to whom nothing happened.
pub type Hours = BTreeMap<i64, Vec<i64>>;

pub fn hours_of_keys(conn: &mut PgConnection, actor: &Actor, keys: &[ApiKeyId], now: DateTime<Utc>) -> Result<Hours> {
    actor.must(Permission::ReadUsage)?;
    Ok(lines(&figures::hours_of_keys(conn, actor.tenant, keys, now)?))
}

pub fn hours_of_webhooks(
    conn: &mut PgConnection,
    actor: &Actor,
    webhooks: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<Hours> {
    actor.must(Permission::ReadWebhooks)?;
    Ok(lines(&figures::hours_of_webhooks(conn, actor.tenant, webhooks, now)?))
}

fn lines(rows: &[HourRow]) -> Hours {
    let mut hours = Hours::new();
    for row in rows {
        let line = hours.entry(row.id).or_insert_with(|| vec![0; HOURS]);
        let ago = usize::try_from(row.hours_ago).unwrap_or(HOURS);
        if let Some(hour) = HOURS.checked_sub(ago + 1).and_then(|index| line.get_mut(index)) {
            *hour += row.total;
        }
    }
    hours
}

/// Who and what made the traffic of a stretch of time.
#[derive(Debug, Clone)]
pub struct Shares {
    pub keys: Vec<KeySum>,
    pub outcomes: Vec<OutcomeSum>,
}

pub fn shares(conn: &mut PgConnection, actor: &Actor, since: DateTime<Utc>) -> Result<Shares> {
    actor.must(Permission::ReadUsage)?;
    Ok(Shares {
        keys: figures::busiest_keys(conn, actor.tenant, since, MOST_SHARES)?,
        outcomes: figures::by_outcome(conn, actor.tenant, since)?,
    })
}

pub fn deliveries(
    conn: &mut PgConnection,
    actor: &Actor,
    webhook: Option<WebhookId>,
    since: DateTime<Utc>,
    step_seconds: i64,
) -> Result<Vec<StateRow>> {
    actor.must(Permission::ReadEvents)?;
    figures::deliveries_by_state(conn, actor.tenant, webhook, since, step_seconds)
}

/// Where a tenant stands, and what somebody should look at.
#[derive(Debug, Clone)]
pub struct Overview {
    pub standing: Standing,
    pub expiring: Vec<Named>,
    pub idle: Vec<Named>,
    pub troubled: Vec<Troubled>,
}

pub fn overview(conn: &mut PgConnection, actor: &Actor, now: DateTime<Utc>) -> Result<Overview> {
    actor.must(Permission::ReadKeys)?;
    Ok(Overview {
        standing: figures::standing(conn, actor.tenant, now)?,
        expiring: figures::expiring_keys(conn, actor.tenant, now, MOST_WORRIES)?,
        idle: figures::idle_keys(conn, actor.tenant, now, MOST_WORRIES)?,
        troubled: figures::troubled_webhooks(conn, actor.tenant, MOST_WORRIES)?,
    })
}

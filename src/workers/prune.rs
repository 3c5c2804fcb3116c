//! Retention: makes partitions for coming days and removes expired data, by dropping partitions or in small batches.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::{Context, Stop, pause};
use crate::config::Retention;
use crate::domain::api_key::RESTORABLE_FOR;
use crate::domain::{Clock, Result, tenant};
use crate::services::idempotency;
use crate::services::tenants::life;
use crate::store::partitions::{self, Parted};
use crate::store::{self, Db, Scope, Tx};

const FIRST_AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(600);
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
const BATCH: i64 = 1_000;
/// Time that invitations are kept after they end, for people who wonder why their link no longer works.
const INVITATIONS_KEPT: TimeDelta = TimeDelta::days(30);
/// Time that event counts are kept after their month, for people who check them.
const MONTHS_KEPT: TimeDelta = TimeDelta::days(60);

/// Days ahead for which partitions are made.
const DAYS_AHEAD: i64 = 7;

/// Deletes up to a number of rows older than a time, or takes them out of counts. Returns their number.
type Delete = fn(&mut PgConnection, DateTime<Utc>, i64) -> Result<usize>;

pub async fn run(context: Context, mut stop: Stop) {
    let keeper = Pruner { db: context.db, clock: context.clock, retention: context.retention };
    let mut wait = FIRST_AFTER;
    while pause(&mut stop, wait).await {
        keeper.round(&mut stop).await;
        wait = EVERY;
    }
}

/// Maintenance of stored data, run periodically.
pub struct Pruner {
    pub db: Db,
    pub clock: Clock,
    pub retention: Retention,
}

impl Pruner {
    /// Makes needed partitions and removes expired data.
    pub async fn round(&self, stop: &mut Stop) {
        self.make_ahead().await;
        self.drop_old().await;
        for (what, delete, kept) in rules(self.retention) {
            let delete = move |tx: &mut Tx<'_>, before| delete(tx, before, BATCH);
            self.delete_all(what, delete, kept, stop).await;
        }
        let erase = |tx: &mut Tx<'_>, before| life::erase_old(tx, before, BATCH);
        self.delete_all("deleted tenants", erase, tenant::RESTORABLE_FOR, stop).await;
    }

    async fn make_ahead(&self) {
        let now = self.clock.now();
        let make = move |tx: &mut Tx<'_>| {
            let days = partitions::ahead(now, DAYS_AHEAD);
            partitions::make(tx, &partitions::USAGE, &days)?;
            partitions::make_by_id(tx, &days)
        };
        if let Err(error) = self.db.tx(Scope::Instance, make).await {
            tracing::warn!(cause = ?std::error::Error::source(&error), "partitions can't be made ahead just now");
        }
    }

    async fn drop_old(&self) {
        let now = self.clock.now();
        for (parted, kept) in kept(self.retention) {
            let drop = move |tx: &mut Tx<'_>| partitions::drop_before(tx, parted, now - kept);
            told(parted.table, self.db.tx(Scope::Instance, drop).await);
        }
        let before = now - days(self.retention.deliveries_days);
        for table in partitions::BY_ID {
            let drop = move |tx: &mut Tx<'_>| partitions::drop_by_id(tx, table, before);
            told(table, self.db.tx(Scope::Instance, drop).await);
        }
    }

    /// Deletes in batches until nothing old is left.
    async fn delete_all<F>(&self, what: &str, delete: F, kept: TimeDelta, stop: &mut Stop)
    where
        F: Fn(&mut Tx<'_>, DateTime<Utc>) -> Result<usize> + Copy + Send + 'static,
    {
        loop {
            let before = self.clock.now() - kept;
            let is_last = match self.db.tx(Scope::Instance, move |tx| delete(tx, before)).await {
                Ok(deleted) => i64::try_from(deleted).is_ok_and(|deleted| deleted < BATCH),
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    tracing::warn!(what, ?cause, "old rows can't be deleted just now");
                    return;
                }
            };
            if is_last || !pause(stop, BETWEEN_BATCHES).await {
                return;
            }
        }
    }
}

fn told(table: &str, dropped: Result<usize>) {
    match dropped {
        Ok(0) => {}
        Ok(count) => tracing::info!(table, count, "old partitions are dropped"),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            tracing::warn!(table, ?cause, "old partitions can't be dropped just now");
        }
    }
}

/// Returns what is deleted and how long it is kept. Deliveries are deleted before their events.
fn rules(retention: Retention) -> [(&'static str, Delete, TimeDelta); 11] {
    [
        ("invitations", store::invitations::delete_old, INVITATIONS_KEPT),
        ("sessions", store::sessions::delete_ended, TimeDelta::zero()),
        ("counts of expired keys", store::key_counts::fold_all, TimeDelta::zero()),
        ("deleted keys", store::api_keys::delete_old, RESTORABLE_FOR),
        ("idempotency keys", store::idempotency_keys::delete_old, idempotency::KEPT),
        ("minutes of deliveries", store::delivery_totals::delete_old_minutes, days(retention.deliveries_days)),
        ("hours of deliveries", store::delivery_totals::delete_old_hours, days(retention.buckets_days)),
        ("deliveries", store::deliveries::delete_old, days(retention.deliveries_days)),
        ("events", store::events::delete_old, days(retention.deliveries_days)),
        ("months of events", store::event_months::delete_old, MONTHS_KEPT),
        ("audit entries", store::audit_entries::delete_old, days(retention.audit_days)),
    ]
}

fn days(days: u32) -> TimeDelta {
    TimeDelta::days(i64::from(days))
}

fn kept(retention: Retention) -> [(Parted, TimeDelta); 4] {
    [
        (partitions::USAGE_LOGS, days(retention.usage_days)),
        (partitions::USAGE_MINUTES, days(retention.usage_days)),
        (partitions::USAGE_HOURS, days(retention.buckets_days)),
        (partitions::USAGE_LATENCIES, days(retention.buckets_days)),
    ]
}

//! Deletes what is no longer kept, in bounded batches.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::{Context, Stop, pause};
use crate::domain::Result;
use crate::domain::api_key::RESTORABLE_FOR;
use crate::services::idempotency;
use crate::store::{self, Scope};

const FIRST_AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(600);
const BETWEEN_BATCHES: Duration = Duration::from_millis(50);
const BATCH: i64 = 1_000;

/// Deletes up to so many rows older than a time, and tells how many they were.
type Delete = fn(&mut PgConnection, DateTime<Utc>, i64) -> Result<usize>;

pub async fn run(context: Context, mut stop: Stop) {
    let mut wait = FIRST_AFTER;
    while pause(&mut stop, wait).await {
        for (what, delete, kept) in rules(&context) {
            if let Err(error) = all(&context, delete, kept, &mut stop).await {
                tracing::warn!(what, cause = ?std::error::Error::source(&error), "old rows can't be deleted just now");
            }
        }
        wait = EVERY;
    }
}

/// What is deleted, and how long it is kept. Deliveries go before the events that they belong to.
fn rules(context: &Context) -> [(&'static str, Delete, TimeDelta); 8] {
    let days = |days: u32| TimeDelta::days(i64::from(days));
    let retention = context.retention;
    [
        ("sessions", store::sessions::delete_ended, TimeDelta::zero()),
        ("deleted keys", store::api_keys::delete_old, RESTORABLE_FOR),
        ("idempotency keys", store::idempotency_keys::delete_old, idempotency::KEPT),
        ("usage records", store::usage::delete_old_logs, days(retention.usage_days)),
        ("usage minutes", store::usage::delete_old_minutes, days(retention.buckets_days)),
        ("deliveries", store::deliveries::delete_old, days(retention.deliveries_days)),
        ("events", store::events::delete_old, days(retention.deliveries_days)),
        ("audit entries", store::audit_entries::delete_old, days(retention.audit_days)),
    ]
}

/// Batch after batch, until nothing old is left.
async fn all(context: &Context, delete: Delete, kept: TimeDelta, stop: &mut Stop) -> Result<()> {
    loop {
        let before = context.clock.now() - kept;
        let deleted = context.db.tx(Scope::Instance, move |conn| delete(conn, before, BATCH)).await?;
        let is_last = i64::try_from(deleted).is_ok_and(|deleted| deleted < BATCH);
        if is_last || !pause(stop, BETWEEN_BATCHES).await {
            return Ok(());
        }
    }
}

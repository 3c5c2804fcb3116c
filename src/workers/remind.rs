//! Expiry worker: announces API keys that expire within a week to their tenants' webhooks.

use std::time::Duration;

use super::{Context, Stop, pause};
use crate::domain::Result;
use crate::services::api_keys;
use crate::store::{Db, Scope};

const FIRST_AFTER: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(300);
const MOST_AT_ONCE: i64 = 200;

pub async fn run(context: Context, mut stop: Stop) {
    let mut wait = FIRST_AFTER;
    while pause(&mut stop, wait).await {
        if let Err(error) = round(&context.db).await {
            tracing::debug!(cause = ?std::error::Error::source(&error), "reminders about expiring keys failed");
        }
        wait = EVERY;
    }
}

/// Announces keys in batches until none is left.
pub async fn round(db: &Db) -> Result<()> {
    let most = usize::try_from(MOST_AT_ONCE).unwrap_or(usize::MAX);
    while most <= db.tx(Scope::Instance, move |tx| api_keys::tell_of_expiring(tx, MOST_AT_ONCE)).await? {}
    Ok(())
}

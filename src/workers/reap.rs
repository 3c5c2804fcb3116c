//! Lease worker: takes back deliveries whose lease has expired, so that a crash loses none.

use std::time::Duration;

use super::{Context, Stop, pause};
use crate::services::delivery_signal::DueWebhooks;
use crate::services::dispatch;
use crate::store::Scope;

const EVERY: Duration = Duration::from_secs(3);
const MOST_AT_ONCE: i64 = 500;

pub async fn run(context: Context, mut stop: Stop) {
    // Run at once: after a crash there are leases to take back.
    loop {
        match context.db.tx(Scope::Instance, move |tx| dispatch::reap(tx, MOST_AT_ONCE)).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::warn!(
                    count,
                    "leases ran out: their attempts are recorded as lost, and made again where any are left"
                );
                context.delivery_signal.notify(DueWebhooks::Anywhere);
            }
            Err(error) => {
                tracing::debug!(cause = ?std::error::Error::source(&error), "leases can't be looked at just now")
            }
        }
        if !pause(&mut stop, EVERY).await {
            return;
        }
    }
}

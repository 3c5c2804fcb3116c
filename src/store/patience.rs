//! Writes that must not be lost: retried for as long as the database takes no writes.

use std::time::Duration;

use tokio::time::sleep;

use super::{Db, Scope, Tx, write_probe};
use crate::domain::{Error, Result};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// Failed tries after which the write itself may be at fault.
const TRIES: u32 = 20;
/// Failed tries after which a stopping process gives up: five seconds.
const TRIES_WHEN_STOPPING: u32 = 10;

/// Runs `work` in a transaction of the instance until it succeeds.
///
/// # Errors
/// `Unavailable` if the process stops first, or if the database takes other writes but not this one.
pub async fn persist<T, F>(db: &Db, is_stopping: impl Fn() -> bool, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<T> + Clone + Send + 'static,
{
    let (mut tried, mut tried_when_stopping) = (0, 0);
    loop {
        let error = match db.tx(Scope::Instance, work.clone()).await {
            Err(error @ Error::Unavailable(_)) => error,
            done => return done,
        };
        tried += 1;
        tried_when_stopping += u32::from(is_stopping());
        if TRIES_WHEN_STOPPING <= tried_when_stopping || (TRIES <= tried && takes_writes(db).await) {
            return Err(error);
        }
        sleep(PAUSE).await;
    }
}

/// True if the database takes writes.
async fn takes_writes(db: &Db) -> bool {
    matches!(db.tx(Scope::Instance, |tx| write_probe::refusal(tx)).await, Ok(None))
}

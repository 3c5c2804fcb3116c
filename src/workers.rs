//! The work behind the doors: delivering, taking back, pruning, and hearing what other processes have changed.

pub mod deliver;
pub mod listen;
pub mod mail;
pub mod more;
pub mod post;
pub mod prune;
pub mod readiness;
pub mod reap;
pub mod remind;
pub mod runner;
pub mod settle;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::config::Retention;
use crate::domain::Clock;
use crate::domain::vault::Vault;
use crate::outbound::{Mailer, Outbound};
use crate::services::bell::Bell;
use crate::services::readiness::Readiness;
use crate::store::Db;

pub use listen::Audience;
pub use runner::Workers;

/// What the workers work with.
#[derive(Clone)]
pub struct Context {
    /// A pool of their own.
    pub db: Db,
    pub clock: Clock,
    pub vault: Arc<Vault>,
    pub outbound: Outbound,
    /// Where a mail server is named.
    pub mailer: Option<Arc<Mailer>>,
    /// Held while this process claims or publishes: the two would keep each other from the lock in the database.
    pub turnstile: Arc<Mutex<()>>,
    /// Rung when there may be something to deliver.
    pub bell: Arc<Bell>,
    /// Results of the readiness checks.
    pub readiness: Arc<Readiness>,
    /// Requests in flight at once.
    pub slots: usize,
    /// Of one tenant, in all processes together.
    pub per_tenant: i64,
    pub lease: Duration,
    pub retention: Retention,
}

/// Tells a worker that it is time to stop.
pub type Stop = watch::Receiver<bool>;

/// Whether it is time: because somebody said so, or because nobody is left who could.
fn is_over(stop: &Stop) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits, and says whether to go on.
async fn pause(stop: &mut Stop, length: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => true,
        _ = stop.wait_for(|is_over| *is_over) => false,
    }
}

//! Background work: delivery, expired leases, pruning, and changes made by other replicas.

pub mod deliver;
pub mod listen;
pub mod mail;
pub mod prune;
pub mod publish;
pub mod readiness;
pub mod reap;
pub mod remind;
pub mod runner;
pub mod settle;
pub mod waiting_webhooks;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use crate::config::Retention;
use crate::domain::Clock;
use crate::domain::vault::Vault;
use crate::outbound::{Mailer, Outbound};
use crate::services::delivery_signal::DeliverySignal;
use crate::services::readiness::Readiness;
use crate::store::Db;

pub use listen::ChangeHandler;
pub use runner::Workers;

/// Dependencies and settings that the workers share.
#[derive(Clone)]
pub struct Context {
    /// Pool of the workers alone.
    pub db: Db,
    pub clock: Clock,
    pub vault: Arc<Vault>,
    pub outbound: Outbound,
    /// Mail client. `None` if no mail server is configured.
    pub mailer: Option<Arc<Mailer>>,
    /// Held while this process claims or publishes. Both need the same database lock, and must not wait there for each
    /// other.
    pub claim_lock: Arc<Mutex<()>>,
    /// Signalled when there may be something to deliver.
    pub delivery_signal: Arc<DeliverySignal>,
    /// Results of the readiness checks.
    pub readiness: Arc<Readiness>,
    /// Maximum number of requests of this process under way at once.
    pub slots: usize,
    /// Maximum number of requests of one tenant under way at once, over all replicas.
    pub per_tenant: i64,
    /// Time for which a claimed delivery belongs to this process.
    pub lease: Duration,
    pub retention: Retention,
}

/// Channel that tells a worker to stop.
pub type Stop = watch::Receiver<bool>;

/// Returns true if the worker should stop: it was told to, or the sender is gone.
fn is_over(stop: &Stop) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

/// Waits. Returns false if the worker should stop.
async fn pause(stop: &mut Stop, length: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(length) => true,
        _ = stop.wait_for(|is_over| *is_over) => false,
    }
}

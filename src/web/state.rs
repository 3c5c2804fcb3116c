//! What the handlers share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::Settings;
use super::throttle::Throttle;
use crate::domain::{Clock, Error, Result};
use crate::store::Db;

/// One for the whole server, behind `Data`.
pub struct State {
    pub settings: Arc<Settings>,
    pub clock: Clock,
    /// The pool of the pages.
    pub pages: Db,
    /// The pool of the API.
    pub api: Db,
    /// Password hashes that run at once: each takes a core for tens of milliseconds.
    pub hashing: Arc<Semaphore>,
    pub throttle: Throttle,
}

impl State {
    /// Runs something that takes a core for long, such as hashing a password, off the async threads and few at a time.
    pub async fn off_the_loop<T: Send + 'static>(&self, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let permit = Arc::clone(&self.hashing).acquire_owned().await.map_err(Error::bug)?;
        spawn_blocking(move || {
            let _permit = permit;
            work()
        })
        .await
        .map_err(Error::bug)?
    }
}

//! Choice of where rate limits are counted: in this process, or in Redis with other replicas.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::limiter::{LimitSubject, Limiter};
use super::shared::Shared;
use crate::domain::Result;
use crate::domain::limit::LimitState;

/// Rate limit counter, shared by the whole process.
pub struct Counting {
    /// Counts of this process. With Redis, the counts last received from there.
    own: Arc<Limiter>,
    shared: Option<Shared>,
}

impl Counting {
    pub fn new(own: Arc<Limiter>, shared: Option<Shared>) -> Self {
        Self { own, shared }
    }

    /// Charges `cost` to all limits if it fits into all of them, else to none. Returns them in the order of `held`.
    ///
    /// # Errors
    /// `Unavailable` if the call cannot be counted: see [`Limiter::take`] and [`Shared::take`].
    pub async fn take(&self, held: &[LimitSubject], now: DateTime<Utc>, cost: u64) -> Result<Vec<LimitState>> {
        match &self.shared {
            None => self.own.take(held, now, cost),
            // Boxed to keep the future of calls without Redis small.
            Some(shared) => Box::pin(shared.take(&self.own, held, now, cost)).await,
        }
    }

    /// Checks whether `cost` would fit. Charges nothing.
    pub async fn look(&self, held: &[LimitSubject], now: DateTime<Utc>, cost: u64) -> Result<Vec<LimitState>> {
        match &self.shared {
            None => Ok(self.own.look(held, now, cost)),
            Some(shared) => Box::pin(shared.look(&self.own, held, now, cost)).await,
        }
    }

    /// Returns true if `cost` fits by the counts of this process. Other replicas may have used up the rest.
    pub fn expects(&self, held: &[LimitSubject], now: DateTime<Utc>, cost: u64) -> bool {
        self.own.look(held, now, cost).iter().all(|standing| standing.is_allowed)
    }

    /// Returns the state of the limits by the counts of this process.
    pub fn glance(&self, held: &[LimitSubject], now: DateTime<Utc>) -> Vec<LimitState> {
        self.own.look(held, now, 0)
    }

    /// Fails if calls cannot be counted now.
    pub fn must_be_able(&self) -> Result<()> {
        self.shared.as_ref().map_or(Ok(()), Shared::must_be_able)
    }

    /// Returns true if Redis can be reached, false if not, `None` if limits are not shared.
    pub fn is_shared(&self) -> Option<bool> {
        self.shared.as_ref().map(Shared::is_up)
    }
}

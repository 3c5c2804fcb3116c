//! Where calls are counted against their limits: in this process, or where several processes count together.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::limiter::{Held, Limiter};
use super::shared::Shared;
use crate::domain::Result;
use crate::domain::limit::Standing;

/// One for the whole process.
pub struct Counting {
    /// What this process counts; with shared counts, what it last heard of them.
    own: Arc<Limiter>,
    shared: Option<Shared>,
}

impl Counting {
    pub fn new(own: Arc<Limiter>, shared: Option<Shared>) -> Self {
        Self { own, shared }
    }

    /// Takes `cost` from all of them if it fits into all, else from none. In the order of `held`.
    ///
    /// # Errors
    /// `Unavailable` where it can't be counted: see [`Limiter::take`] and [`Shared::take`].
    pub async fn take(&self, held: &[Held], now: DateTime<Utc>, cost: u64) -> Result<Vec<Standing>> {
        match &self.shared {
            None => self.own.take(held, now, cost),
            // Apart, so that a call which does not need it stays small.
            Some(shared) => Box::pin(shared.take(&self.own, held, now, cost)).await,
        }
    }

    /// Whether `cost` would fit, taking nothing.
    pub async fn look(&self, held: &[Held], now: DateTime<Utc>, cost: u64) -> Result<Vec<Standing>> {
        match &self.shared {
            None => Ok(self.own.look(held, now, cost)),
            Some(shared) => Box::pin(shared.look(&self.own, held, now, cost)).await,
        }
    }

    /// Whether `cost` fits by what this process knows, without asking anybody: others may have taken the rest meanwhile.
    pub fn expects(&self, held: &[Held], now: DateTime<Utc>, cost: u64) -> bool {
        self.own.look(held, now, cost).iter().all(|standing| standing.is_allowed)
    }

    /// Where they stand by what this process knows, without asking anybody.
    pub fn glance(&self, held: &[Held], now: DateTime<Utc>) -> Vec<Standing> {
        self.own.look(held, now, 0)
    }

    /// Refuses where calls can't be counted just now.
    pub fn must_be_able(&self) -> Result<()> {
        self.shared.as_ref().map_or(Ok(()), Shared::must_be_able)
    }

    /// Whether the shared counts can be reached; None where there are none.
    pub fn is_shared(&self) -> Option<bool> {
        self.shared.as_ref().map(Shared::is_up)
    }
}

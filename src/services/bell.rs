//! Who publishes rings, and the worker that claims hears where something may be due.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::WebhookId;
use crate::store::notify::Change;

/// With more webhooks than these, all are looked at: which of them is first is then found more cheaply.
const MOST_NAMED: usize = 256;

/// Where something may be due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Anywhere,
    At(HashSet<WebhookId>),
}

impl Call {
    /// Webhooks of which each may have something that is due.
    pub fn at(webhooks: impl IntoIterator<Item = WebhookId>) -> Self {
        Self::At(webhooks.into_iter().collect()).bounded()
    }

    fn bounded(self) -> Self {
        match self {
            Self::At(webhooks) if MOST_NAMED < webhooks.len() => Self::Anywhere,
            other => other,
        }
    }

    /// Wherever either of the two calls.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(mut these), Self::At(those)) => {
                these.extend(those);
                Self::At(these).bounded()
            }
            _ => Self::Anywhere,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::At(webhooks) if webhooks.is_empty())
    }
}

/// One of each process. What was rung for is kept until somebody takes it.
#[derive(Debug)]
pub struct Bell {
    rung: Mutex<Call>,
    notify: Notify,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: Mutex::new(Call::at([])), notify: Notify::new() }
    }
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Call> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn ring(&self, call: Call) {
        if call.is_empty() {
            return;
        }
        let mut rung = self.lock();
        let before = std::mem::replace(&mut *rung, Call::Anywhere);
        *rung = before.and(call);
        drop(rung);
        self.notify.notify_one();
    }

    /// Rings where the change is one that leaves something to deliver.
    pub fn hear(&self, change: &Change) {
        match change {
            Change::Delivery => self.ring(Call::Anywhere),
            Change::DeliveryAt(webhooks) => self.ring(Call::at(webhooks.iter().copied())),
            Change::Key(_) | Change::Tenant(_) | Change::Access => {}
        }
    }

    /// Waits until it has been rung.
    pub async fn rung(&self) {
        self.notify.notified().await;
    }

    /// What it has been rung for since the last time.
    pub fn take(&self) -> Call {
        std::mem::replace(&mut *self.lock(), Call::at([]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = i64>) -> Vec<WebhookId> {
        ids.into_iter().map(WebhookId).collect()
    }

    #[test]
    fn it_gathers_what_was_rung_for() {
        let bell = Bell::default();
        assert_eq!(bell.take(), Call::at([]));
        bell.hear(&Change::DeliveryAt(ids([1, 2])));
        bell.ring(Call::at(ids([2, 3])));
        assert_eq!(bell.take(), Call::at(ids([1, 2, 3])));
        assert_eq!(bell.take(), Call::at([]));
    }

    #[test]
    fn anywhere_is_more_than_any_place() {
        let bell = Bell::default();
        bell.hear(&Change::Delivery);
        bell.ring(Call::at(ids([1])));
        assert_eq!(bell.take(), Call::Anywhere);
        bell.ring(Call::at(ids([1])));
        bell.ring(Call::Anywhere);
        assert_eq!(bell.take(), Call::Anywhere);
    }

    #[test]
    fn too_many_places_are_anywhere() {
        assert!(matches!(Call::at(ids(1..=256)), Call::At(_)));
        assert_eq!(Call::at(ids(1..=257)), Call::Anywhere);
        assert_eq!(Call::at(ids(1..=200)).and(Call::at(ids(101..=300))), Call::Anywhere);
    }

    #[tokio::test]
    async fn a_ring_before_anybody_waits_is_heard_and_one_for_nothing_is_none() {
        let bell = Bell::default();
        bell.ring(Call::at([]));
        bell.hear(&Change::Access);
        let heard = tokio::time::timeout(std::time::Duration::from_millis(20), bell.rung()).await;
        assert!(heard.is_err());
        bell.ring(Call::at(ids([1])));
        bell.rung().await;
    }
}

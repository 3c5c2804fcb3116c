//! Signal within a process, from publishers to the delivery worker: which webhooks may have something due.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::WebhookId;
use crate::store::notify::Change;

/// Maximum number of webhooks that one signal names. Beyond this, looking at all webhooks is cheaper.
const MOST_NAMED: usize = 256;

/// Webhooks that may have due deliveries: all, or those named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DueWebhooks {
    Anywhere,
    At(HashSet<WebhookId>),
}

impl DueWebhooks {
    /// Names webhooks that may each have something due.
    pub fn at(webhooks: impl IntoIterator<Item = WebhookId>) -> Self {
        Self::At(webhooks.into_iter().collect()).bounded()
    }

    fn bounded(self) -> Self {
        match self {
            Self::At(webhooks) if MOST_NAMED < webhooks.len() => Self::Anywhere,
            other => other,
        }
    }

    /// Joins two signals into one that covers both.
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

/// Signal of this process to its delivery worker. It is kept until the worker takes it.
#[derive(Debug)]
pub struct DeliverySignal {
    rung: Mutex<DueWebhooks>,
    notify: Notify,
}

impl Default for DeliverySignal {
    fn default() -> Self {
        Self { rung: Mutex::new(DueWebhooks::at([])), notify: Notify::new() }
    }
}

impl DeliverySignal {
    fn lock(&self) -> MutexGuard<'_, DueWebhooks> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn notify(&self, call: DueWebhooks) {
        if call.is_empty() {
            return;
        }
        let mut rung = self.lock();
        let before = std::mem::replace(&mut *rung, DueWebhooks::Anywhere);
        *rung = before.and(call);
        drop(rung);
        self.notify.notify_one();
    }

    /// Passes on a change that leaves something to deliver.
    pub fn hear(&self, change: &Change) {
        match change {
            Change::Delivery => self.notify(DueWebhooks::Anywhere),
            Change::DeliveryAt(webhooks) => self.notify(DueWebhooks::at(webhooks.iter().copied())),
            Change::Key(_) | Change::Tenant(_) | Change::Access => {}
        }
    }

    /// Waits for the next signal.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes the webhooks named since the last call.
    pub fn take(&self) -> DueWebhooks {
        std::mem::replace(&mut *self.lock(), DueWebhooks::at([]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: impl IntoIterator<Item = i64>) -> Vec<WebhookId> {
        ids.into_iter().map(WebhookId).collect()
    }

    #[test]
    fn signals_are_collected_until_they_are_taken() {
        let signal = DeliverySignal::default();
        assert_eq!(signal.take(), DueWebhooks::at([]));
        signal.hear(&Change::DeliveryAt(ids([1, 2])));
        signal.notify(DueWebhooks::at(ids([2, 3])));
        assert_eq!(signal.take(), DueWebhooks::at(ids([1, 2, 3])));
        assert_eq!(signal.take(), DueWebhooks::at([]));
    }

    #[test]
    fn a_signal_for_all_webhooks_covers_named_ones() {
        let signal = DeliverySignal::default();
        signal.hear(&Change::Delivery);
        signal.notify(DueWebhooks::at(ids([1])));
        assert_eq!(signal.take(), DueWebhooks::Anywhere);
        signal.notify(DueWebhooks::at(ids([1])));
        signal.notify(DueWebhooks::Anywhere);
        assert_eq!(signal.take(), DueWebhooks::Anywhere);
    }

    #[test]
    fn a_signal_for_too_many_webhooks_becomes_one_for_all() {
        assert!(matches!(DueWebhooks::at(ids(1..=256)), DueWebhooks::At(_)));
        assert_eq!(DueWebhooks::at(ids(1..=257)), DueWebhooks::Anywhere);
        assert_eq!(DueWebhooks::at(ids(1..=200)).and(DueWebhooks::at(ids(101..=300))), DueWebhooks::Anywhere);
    }

    #[tokio::test]
    async fn an_early_signal_is_kept_and_an_empty_one_is_ignored() {
        let signal = DeliverySignal::default();
        signal.notify(DueWebhooks::at([]));
        signal.hear(&Change::Access);
        let heard = tokio::time::timeout(std::time::Duration::from_millis(20), signal.notified()).await;
        assert!(heard.is_err());
        signal.notify(DueWebhooks::at(ids([1])));
        signal.notified().await;
    }
}

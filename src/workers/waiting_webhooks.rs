//! Webhooks that wait for requests under way to end.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{TenantId, WebhookId};
use crate::services::delivery_signal::DueWebhooks;
use crate::services::dispatch::WebhookBacklog;

/// Maximum number of rate-limited webhooks per retry. The next look finds the rest.
const MOST_PACED: usize = 100;

/// Webhooks with due deliveries that wait for a slot, or for a cap of the webhook or tenant. An endpoint that does not
/// respond triggers no retry here. Such endpoints tend to be many, and a look through them finds little: the next
/// periodic look is early enough.
#[derive(Debug, Default)]
pub struct WaitingWebhooks(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// True if deliveries of any webhook may wait for a free slot.
    for_a_slot: bool,
    /// Webhooks that wait, with their tenants.
    at: HashMap<WebhookId, TenantId>,
    /// Webhooks of `at` that wait for their rate limit.
    paced: HashSet<WebhookId>,
}

impl Waiting {
    fn extend(&mut self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        self.at.extend(webhooks.into_iter().map(|(tenant, webhook)| (webhook, tenant)));
    }
}

impl WaitingWebhooks {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that deliveries wait for a slot.
    pub fn wait_for_a_slot(&self) {
        self.lock().for_a_slot = true;
    }

    /// Updates the webhooks that were leased from: only those in `still` wait.
    pub fn wait_only_at(&self, leased_from: &[WebhookId], still: &[WebhookBacklog]) {
        let mut waiting = self.lock();
        for webhook in leased_from {
            waiting.at.remove(webhook);
            waiting.paced.remove(webhook);
        }
        waiting.extend(still.iter().map(|held| (held.tenant_id, held.webhook_id)));
        waiting.paced.extend(still.iter().filter(|held| held.is_paced).map(|held| held.webhook_id));
    }

    pub fn has_paced(&self) -> bool {
        !self.lock().paced.is_empty()
    }

    /// Returns webhooks whose rate limit may allow more by now.
    pub fn paced(&self) -> DueWebhooks {
        DueWebhooks::at(self.lock().paced.iter().copied().take(MOST_PACED))
    }

    /// Replaces all waiting webhooks after a look at all of them.
    pub fn reset(&self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        let mut waiting = self.lock();
        waiting.for_a_slot = false;
        waiting.at.clear();
        waiting.extend(webhooks);
    }

    /// Returns the webhooks to signal when slots become free and endpoints of these tenants have responded.
    pub fn call(&self, answered: &HashSet<TenantId>) -> DueWebhooks {
        let waiting = self.lock();
        if waiting.for_a_slot {
            return DueWebhooks::Anywhere;
        }
        DueWebhooks::at(waiting.at.iter().filter(|(_, tenant)| answered.contains(tenant)).map(|(webhook, _)| *webhook))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tenant_id: TenantId, webhook_id: WebhookId, is_paced: bool) -> WebhookBacklog {
        WebhookBacklog { tenant_id, webhook_id, is_paced }
    }

    #[test]
    fn rate_limited_webhooks_are_tried_again_until_nothing_waits() {
        let more = WaitingWebhooks::default();
        let (one, [first, second]) = (TenantId(1), [WebhookId(1), WebhookId(2)]);
        assert_eq!(more.paced(), DueWebhooks::at([]));
        more.wait_only_at(&[first, second], &[held(one, first, true), held(one, second, false)]);
        assert_eq!(more.paced(), DueWebhooks::at([first]));
        // A look at all webhooks does not check rate limits.
        more.reset([]);
        assert_eq!(more.paced(), DueWebhooks::at([first]));
        more.wait_only_at(&[first], &[]);
        assert_eq!(more.paced(), DueWebhooks::at([]));
    }

    #[test]
    fn waiting_webhooks_are_signalled_and_all_of_them_when_slots_are_short() {
        let more = WaitingWebhooks::default();
        let [one, other] = [TenantId(1), TenantId(2)];
        let [first, second, third] = [WebhookId(1), WebhookId(2), WebhookId(3)];
        let calls = |answered: &[TenantId]| more.call(&answered.iter().copied().collect());
        let nowhere = DueWebhooks::at([]);
        assert_eq!(calls(&[one, other]), nowhere);
        more.reset([(one, first), (one, second), (other, third)]);
        assert_eq!((calls(&[one]), calls(&[])), (DueWebhooks::at([first, second]), nowhere.clone()));
        assert_eq!(calls(&[one, other]), DueWebhooks::at([first, second, third]));
        more.wait_for_a_slot();
        assert_eq!((calls(&[one]), calls(&[])), (DueWebhooks::Anywhere, DueWebhooks::Anywhere));
        more.reset([(one, first), (one, second), (other, third)]);
        more.wait_only_at(&[first, second], &[held(one, second, false)]);
        assert_eq!((calls(&[one]), calls(&[other])), (DueWebhooks::at([second]), DueWebhooks::at([third])));
        more.reset([(other, third)]);
        assert_eq!((calls(&[one]), calls(&[other])), (nowhere, DueWebhooks::at([third])));
    }
}

//! Who waits for what is in flight to come back.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{TenantId, WebhookId};
use crate::services::bell::Call;
use crate::services::dispatch::Held;

/// With more than these that keep a rate, the others are found by the next look.
const MOST_PACED: usize = 100;

/// Where something is due that waits: for a slot, or for a cap of its webhook's or its tenant's. Endpoints that don't answer
/// are many where there are any, and a look through them finds little: when one has not answered once more, the next look at
/// the clock is early enough.
#[derive(Debug, Default)]
pub struct More(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    for_a_slot: bool,
    at: HashMap<WebhookId, TenantId>,
    /// Of these, some wait for their rate.
    paced: HashSet<WebhookId>,
}

impl Waiting {
    fn extend(&mut self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        self.at.extend(webhooks.into_iter().map(|(tenant, webhook)| (webhook, tenant)));
    }
}

impl More {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something waits for a slot, whoever holds it.
    pub fn wait_for_a_slot(&self) {
        self.lock().for_a_slot = true;
    }

    /// Of these webhooks that were leased from, something of `still` waits.
    pub fn wait_only_at(&self, leased_from: &[WebhookId], still: &[Held]) {
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

    /// Where time alone may make room.
    pub fn paced(&self) -> Call {
        Call::at(self.lock().paced.iter().copied().take(MOST_PACED))
    }

    /// Of all webhooks, something of these waits.
    pub fn reset(&self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        let mut waiting = self.lock();
        waiting.for_a_slot = false;
        waiting.at.clear();
        waiting.extend(webhooks);
    }

    /// What to ring for when slots are free again and endpoints of these tenants have answered.
    pub fn call(&self, answered: &HashSet<TenantId>) -> Call {
        let waiting = self.lock();
        if waiting.for_a_slot {
            return Call::Anywhere;
        }
        Call::at(waiting.at.iter().filter(|(_, tenant)| answered.contains(tenant)).map(|(webhook, _)| *webhook))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tenant_id: TenantId, webhook_id: WebhookId, is_paced: bool) -> Held {
        Held { tenant_id, webhook_id, is_paced }
    }

    #[test]
    fn what_keeps_a_rate_is_asked_again_until_nothing_of_it_is_left() {
        let more = More::default();
        let (one, [first, second]) = (TenantId(1), [WebhookId(1), WebhookId(2)]);
        assert_eq!(more.paced(), Call::at([]));
        more.wait_only_at(&[first, second], &[held(one, first, true), held(one, second, false)]);
        assert_eq!(more.paced(), Call::at([first]));
        // A look knows nothing of rates.
        more.reset([]);
        assert_eq!(more.paced(), Call::at([first]));
        more.wait_only_at(&[first], &[]);
        assert_eq!(more.paced(), Call::at([]));
    }

    #[test]
    fn it_calls_where_something_waits_and_anywhere_where_slots_are_short() {
        let more = More::default();
        let [one, other] = [TenantId(1), TenantId(2)];
        let [first, second, third] = [WebhookId(1), WebhookId(2), WebhookId(3)];
        let calls = |answered: &[TenantId]| more.call(&answered.iter().copied().collect());
        let nowhere = Call::at([]);
        assert_eq!(calls(&[one, other]), nowhere);
        more.reset([(one, first), (one, second), (other, third)]);
        assert_eq!((calls(&[one]), calls(&[])), (Call::at([first, second]), nowhere.clone()));
        assert_eq!(calls(&[one, other]), Call::at([first, second, third]));
        more.wait_for_a_slot();
        assert_eq!((calls(&[one]), calls(&[])), (Call::Anywhere, Call::Anywhere));
        more.reset([(one, first), (one, second), (other, third)]);
        more.wait_only_at(&[first, second], &[held(one, second, false)]);
        assert_eq!((calls(&[one]), calls(&[other])), (Call::at([second]), Call::at([third])));
        more.reset([(other, third)]);
        assert_eq!((calls(&[one]), calls(&[other])), (nowhere, Call::at([third])));
    }
}

//! Who waits for what is in flight to come back.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::{TenantId, WebhookId};
use crate::services::bell::Call;

/// Where something is due that waits: for a slot, or for a cap of its webhook's or its tenant's. Endpoints that don't answer
/// are many where there are any, and a look through them finds little: when one has not answered once more, the next look at
/// the clock is early enough.
#[derive(Debug, Default)]
pub struct More(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    for_a_slot: bool,
    at: HashMap<WebhookId, TenantId>,
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

    /// Something of these webhooks waits for a cap.
    pub fn wait_at(&self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        self.lock().extend(webhooks);
    }

    /// Of these webhooks that were leased from, something of `still` waits.
    pub fn wait_only_at(&self, leased_from: &[WebhookId], still: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        let mut waiting = self.lock();
        for webhook in leased_from {
            waiting.at.remove(webhook);
        }
        waiting.extend(still);
    }

    /// Of all webhooks, something of these waits.
    pub fn reset(&self, webhooks: impl IntoIterator<Item = (TenantId, WebhookId)>) {
        let mut waiting = self.lock();
        *waiting = Waiting::default();
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

    #[test]
    fn it_calls_where_something_waits_and_anywhere_where_slots_are_short() {
        let more = More::default();
        let [one, other] = [TenantId(1), TenantId(2)];
        let [first, second, third] = [WebhookId(1), WebhookId(2), WebhookId(3)];
        let calls = |answered: &[TenantId]| more.call(&answered.iter().copied().collect());
        let nowhere = Call::at([]);
        assert_eq!(calls(&[one, other]), nowhere);
        more.wait_at([(one, first), (one, second), (other, third)]);
        assert_eq!((calls(&[one]), calls(&[])), (Call::at([first, second]), nowhere.clone()));
        assert_eq!(calls(&[one, other]), Call::at([first, second, third]));
        more.wait_for_a_slot();
        assert_eq!((calls(&[one]), calls(&[])), (Call::Anywhere, Call::Anywhere));
        more.reset([(one, first), (one, second), (other, third)]);
        more.wait_only_at(&[first, second], [(one, second)]);
        assert_eq!((calls(&[one]), calls(&[other])), (Call::at([second]), Call::at([third])));
        more.reset([(other, third)]);
        assert_eq!((calls(&[one]), calls(&[other])), (nowhere, Call::at([third])));
    }
}

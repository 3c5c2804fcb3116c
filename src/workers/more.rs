//! Who waits for what is in flight to come back.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::TenantId;

/// For whose settlements to ring. Endpoints that don't answer are many where there are any, and a look through them finds
/// little: when one has not answered once more, the next look at the clock is early enough.
#[derive(Debug, Default)]
pub struct More(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    for_a_slot: bool,
    tenants: HashSet<TenantId>,
}

impl More {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something waits for a slot, whoever holds it.
    pub fn wait_for_a_slot(&self) {
        self.lock().for_a_slot = true;
    }

    /// Nobody has to wait any more: there is a slot.
    pub fn there_is_a_slot(&self) {
        self.lock().for_a_slot = false;
    }

    /// Something of these tenants waits for a cap of their own.
    pub fn wait_for(&self, tenants: impl IntoIterator<Item = TenantId>) {
        self.lock().tenants.extend(tenants);
    }

    /// Only these tenants' wait, as far as is known.
    pub fn reset(&self, tenants: impl IntoIterator<Item = TenantId>) {
        let mut waiting = self.lock();
        waiting.for_a_slot = false;
        waiting.tenants.clear();
        waiting.tenants.extend(tenants);
    }

    /// Whether to ring when slots are free again and endpoints of these tenants have answered.
    pub fn rings(&self, answered: impl IntoIterator<Item = TenantId>) -> bool {
        let waiting = self.lock();
        waiting.for_a_slot || answered.into_iter().any(|tenant| waiting.tenants.contains(&tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rings_for_those_who_wait_and_for_everybody_where_slots_are_short() {
        let more = More::default();
        let [one, other] = [TenantId(1), TenantId(2)];
        assert!(!more.rings([one, other]));
        more.wait_for([one]);
        assert!(more.rings([other, one]) && !more.rings([other]) && !more.rings([]));
        more.wait_for_a_slot();
        assert!(more.rings([other]) && more.rings([]));
        more.there_is_a_slot();
        assert!(more.rings([one]) && !more.rings([other]));
        more.reset([other]);
        assert!(more.rings([other]) && !more.rings([one]) && !more.rings([]));
    }
}

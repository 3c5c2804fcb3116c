//! The share of a pool that one tenant may hold, so that slow calls of one leave connections to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Scope;
use crate::domain::{Error, Result};

/// Who is held to a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Tenants. Work for the instance (sign-in, operators) is not.
    Tenants,
    /// Tenants, and the instance as one more.
    All,
}

/// Connections that each tenant holds of one pool.
pub struct Shares {
    whom: Sharing,
    /// Most connections of one tenant.
    most: usize,
    /// Permits left to those who hold one or wait for one.
    taken: Mutex<HashMap<Scope, Arc<Semaphore>>>,
}

impl Shares {
    pub fn new(whom: Sharing, most: usize) -> Self {
        Self { whom, most, taken: Mutex::default() }
    }

    /// Waits for room in the scope's share. `None` if the scope is not held to one.
    ///
    /// # Errors
    /// `TenantBusy` if there is no room within `patience`.
    pub async fn take(&self, scope: Scope, patience: Duration) -> Result<Option<OwnedSemaphorePermit>> {
        if scope == Scope::Instance && self.whom == Sharing::Tenants {
            return Ok(None);
        }
        let permit = timeout(patience, self.of(scope).acquire_owned()).await.map_err(|_| Error::TenantBusy)?;
        permit.map(Some).map_err(Error::bug)
    }

    fn of(&self, scope: Scope) -> Arc<Semaphore> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit and a caller who waits for one each hold a reference: an entry with the map's alone is idle.
        taken.retain(|_, permits| 1 < Arc::strong_count(permits));
        Arc::clone(taken.entry(scope).or_insert_with(|| Arc::new(Semaphore::new(self.most))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TenantId;

    #[tokio::test]
    async fn a_share_that_is_taken_leaves_others_theirs_and_is_free_again_when_given_back() {
        let shares = Shares::new(Sharing::Tenants, 1);
        let (one, other) = (Scope::Tenant(TenantId(1)), Scope::Tenant(TenantId(2)));
        let held = shares.take(one, Duration::ZERO).await.unwrap();
        assert!(matches!(shares.take(one, Duration::ZERO).await, Err(Error::TenantBusy)));
        assert!(shares.take(other, Duration::ZERO).await.unwrap().is_some());
        assert!(shares.take(Scope::Instance, Duration::ZERO).await.unwrap().is_none());
        drop(held);
        assert!(shares.take(one, Duration::ZERO).await.unwrap().is_some());
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "entries that are idle are removed");
    }
}

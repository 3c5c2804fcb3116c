//! Share of a pool that one tenant may use, so that slow calls of one tenant leave connections to the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Scope;
use crate::domain::{Error, Result};

/// Scopes that are limited to a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Tenants are limited. Work for the instance (sign-in, operators) is not.
    Tenants,
    /// Tenants are limited, and so is the instance.
    All,
}

/// Counts the connections of one pool that each tenant uses.
pub struct Shares {
    whom: Sharing,
    /// Maximum number of connections of one tenant.
    most: usize,
    /// Permits of each scope with a connection in use or a caller that waits.
    taken: Mutex<HashMap<Scope, Arc<Semaphore>>>,
}

impl Shares {
    /// Creates shares of `most` connections each.
    pub fn new(whom: Sharing, most: usize) -> Self {
        Self { whom, most, taken: Mutex::default() }
    }

    /// Waits for a free connection in the scope's share. `None` if the scope is not limited.
    ///
    /// # Errors
    /// `TenantBusy` if none gets free within `patience`.
    pub async fn take(&self, scope: Scope, patience: Duration) -> Result<Option<OwnedSemaphorePermit>> {
        if scope == Scope::Instance && self.whom == Sharing::Tenants {
            return Ok(None);
        }
        let permit = timeout(patience, self.of(scope).acquire_owned()).await.map_err(|_| Error::TenantBusy)?;
        permit.map(Some).map_err(Error::bug)
    }

    /// Returns the permits of a scope, and forgets scopes without users.
    fn of(&self, scope: Scope) -> Arc<Semaphore> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Each permit and each waiting caller holds a reference. An entry with the map's reference alone is idle.
        taken.retain(|_, permits| 1 < Arc::strong_count(permits));
        Arc::clone(taken.entry(scope).or_insert_with(|| Arc::new(Semaphore::new(self.most))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TenantId;

    #[tokio::test]
    async fn a_used_up_share_leaves_other_tenants_theirs_and_is_free_again_after_its_release() {
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

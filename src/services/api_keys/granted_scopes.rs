//! Key scopes that grant rights in Gatepost itself. An actor cannot grant more than they hold.

use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Error, Permission, Result};

/// Permissions in Gatepost that a key's scopes can grant. All other scopes have the meaning that the customer gives
/// them.
const OPENED: [Permission; 3] = [Permission::ReadEvents, Permission::WriteEvents, Permission::WriteUsage];

/// Refuses with 403 if `scopes` grant rights that the actor lacks and that `before` did not grant. The wildcards `*`,
/// `events:*` and `usage:*` grant what they cover.
pub(super) fn must_hold(actor: &Actor, before: &[String], scopes: &[String]) -> Result<()> {
    let (before, scopes) = (ScopeSet::new(before.to_vec()), ScopeSet::new(scopes.to_vec()));
    let is_beyond = |permission: &Permission| {
        let scope = permission.scope();
        scopes.allows(scope) && !before.allows(scope) && !actor.may(*permission)
    };
    let beyond: Vec<_> = OPENED.into_iter().filter(is_beyond).map(Permission::scope).collect();
    if beyond.is_empty() { Ok(()) } else { Err(Error::missing_scopes(&beyond)) }
}

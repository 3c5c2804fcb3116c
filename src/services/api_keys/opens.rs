//! Scopes of keys that open something in Gatepost itself: nobody hands on what they may not do.

use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Error, Permission, Result};

/// What a key can do here by its scopes, beside being verified. All other scopes mean what the customer says.
const OPENED: [Permission; 3] = [Permission::ReadEvents, Permission::WriteEvents, Permission::WriteUsage];

/// Refuses with 403 where `scopes` open what the actor may not do, and `before` did not open yet. `*`, `events:*` and
/// `usage:*` open what they cover.
pub(super) fn must_hold(actor: &Actor, before: &[String], scopes: &[String]) -> Result<()> {
    let (before, scopes) = (ScopeSet::new(before.to_vec()), ScopeSet::new(scopes.to_vec()));
    let is_beyond = |permission: &Permission| {
        let scope = permission.scope();
        scopes.allows(scope) && !before.allows(scope) && !actor.may(*permission)
    };
    let beyond: Vec<_> = OPENED.into_iter().filter(is_beyond).map(Permission::scope).collect();
    if beyond.is_empty() { Ok(()) } else { Err(Error::missing_scopes(&beyond)) }
}

//! State of a signed-in user: account, current tenant and role.

use diesel::pg::PgConnection;

use crate::domain::{Result, Role, TenantId, UserId};
use crate::model::{Tenant, User};
use crate::store;

/// Maximum number of tenants that an operator is offered to switch to.
const OFFERED: i64 = 100;

#[derive(Debug, Clone)]
pub struct SessionContext {
    pub user: User,
    /// Chosen tenant, else the first one. `None` for a user without a tenant.
    pub here: Option<(Tenant, Role)>,
    /// True if the user works there as a member, false if as an operator.
    pub is_member: bool,
    pub tenants: Vec<Tenant>,
}

/// Returns the state of a session's user. `None` if the user is deleted or not active. Operators act as owner in every
/// tenant.
pub fn seat(conn: &mut PgConnection, user: UserId, chosen: Option<TenantId>) -> Result<Option<SessionContext>> {
    let Some(user) = store::users::find(conn, user)?.filter(|user| user.is_active) else { return Ok(None) };
    let mut places = store::memberships::list_of_user(conn, user.id)?;
    let own: Vec<TenantId> = places.iter().map(|(tenant, _)| tenant.id).collect();
    if user.is_operator {
        let mut rest = store::tenants::list(conn, OFFERED)?;
        // The chosen tenant may be missing from this list, which is capped.
        if let Some(chosen) = chosen.filter(|chosen| rest.iter().all(|tenant| tenant.id != *chosen)) {
            rest.extend(store::tenants::find(conn, chosen)?);
        }
        let rest = rest.into_iter().filter(|tenant| places.iter().all(|(known, _)| known.id != tenant.id));
        let rest: Vec<_> = rest.map(|tenant| (tenant, Role::Owner)).collect();
        places.extend(rest);
        for (_, role) in &mut places {
            *role = Role::Owner;
        }
    }
    let here = places.iter().find(|(tenant, _)| Some(tenant.id) == chosen).or(places.first()).cloned();
    let is_member = here.as_ref().is_some_and(|(tenant, _)| own.contains(&tenant.id));
    Ok(Some(SessionContext { user, here, is_member, tenants: places.into_iter().map(|(tenant, _)| tenant).collect() }))
}

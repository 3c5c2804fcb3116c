//! Members of a tenant: lists, role changes and removal.

use diesel::pg::PgConnection;
use serde_json::json;

use super::audit::{self, AuditedAct};
use super::invitations;
use crate::domain::page::{Page, Paging};
use crate::domain::{Actor, Error, MembershipId, Noun, Permission, Result, Role, UserId};
use crate::model::{Membership, User};
use crate::store::notify::Change;
use crate::store::{self, Tx};

/// Lists members, oldest membership first.
pub fn list(conn: &mut PgConnection, actor: &Actor) -> Result<Vec<(Membership, User)>> {
    actor.must(Permission::ReadMembers)?;
    store::memberships::list(conn, actor.tenant)
}

/// Returns one page of members, newest membership first. `search` matches name or e-mail address.
pub fn page(
    conn: &mut PgConnection,
    actor: &Actor,
    search: Option<&str>,
    paging: &Paging<MembershipId>,
) -> Result<Page<(Membership, User), MembershipId>> {
    actor.must(Permission::ReadMembers)?;
    let rows = store::memberships::page(conn, actor.tenant, search, paging)?;
    let mut page = Page::cut(rows, paging, |(member, _)| member.id);
    if paging.offset.is_some() {
        page.total = Some(store::memberships::count(conn, actor.tenant, search)?);
    }
    Ok(page)
}

/// Counts the tenant's owners. The last owner cannot be removed.
pub fn count_owners(conn: &mut PgConnection, actor: &Actor) -> Result<i64> {
    actor.must(Permission::ReadMembers)?;
    store::memberships::count_owners(conn, actor.tenant)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, user: UserId) -> Result<(Membership, User)> {
    actor.must(Permission::ReadMembers)?;
    of(conn, actor, user)
}

/// Changes a member's role. Only owners make or unmake owners, and at least one owner remains.
pub fn change_role(tx: &mut Tx<'_>, actor: &Actor, user: UserId, role: Role) -> Result<(Membership, User)> {
    let (before, user) = to_change(tx, actor, user, Some(role))?;
    if before.role == role {
        return Ok((before, user));
    }
    let after = store::memberships::update_role(tx, actor.tenant, user.id, role)?;
    let after = after.ok_or(Error::NotFound(Noun::Membership))?;
    let deed = AuditedAct::new("member.role_changed", target(user.id))
        .with("name", user.email.as_str())
        .changing(json!({"role": before.role}), json!({"role": role}));
    audit::record(tx, actor, deed)?;
    if role < before.role {
        invitations::revoke_unbacked_in(tx, actor, user.id)?;
    }
    tx.announce(Change::Access);
    Ok((after, user))
}

/// Removes a member, and revokes their access tokens for this tenant and their pending invitations. API keys that they
/// made stay, since they belong to the tenant.
pub fn remove(tx: &mut Tx<'_>, actor: &Actor, user: UserId) -> Result<User> {
    let now = tx.now;
    let (before, user) = to_change(tx, actor, user, None)?;
    store::memberships::delete(tx, actor.tenant, user.id)?;
    let tokens = store::access_tokens::revoke_of_member(tx, actor.tenant, user.id, now)?;
    let deed = AuditedAct::new("member.removed", target(user.id))
        .with("name", user.email.as_str())
        .with("role", before.role.as_str())
        .with("tokens_revoked", tokens);
    audit::record(tx, actor, deed)?;
    invitations::revoke_unbacked_in(tx, actor, user.id)?;
    tx.announce(Change::Access);
    Ok(user)
}

/// Locks all members and returns this one, if the actor may give them this role (`None` removes them).
fn to_change(conn: &mut PgConnection, actor: &Actor, user: UserId, role: Option<Role>) -> Result<(Membership, User)> {
    actor.must(Permission::WriteMembers)?;
    let all = store::memberships::lock_all(conn, actor.tenant)?;
    let (before, user) = of(conn, actor, user)?;
    if before.role == Role::Owner || role == Some(Role::Owner) {
        actor.must(Permission::MakeOwners)?;
    }
    if actor.user == Some(user.id) && role.is_some_and(|role| before.role < role) {
        return Err(Error::conflict("you cannot raise your own role: another owner or operator must do this"));
    }
    let owners = all.iter().filter(|member| member.role == Role::Owner).count();
    if before.role == Role::Owner && role != Some(Role::Owner) && owners == 1 {
        return Err(Error::conflict("a tenant needs an owner: make another member an owner first"));
    }
    Ok((before, user))
}

fn of(conn: &mut PgConnection, actor: &Actor, user: UserId) -> Result<(Membership, User)> {
    let found = store::memberships::find_with_user(conn, actor.tenant, user)?;
    found.ok_or(Error::NotFound(Noun::Membership))
}

fn target(user: UserId) -> String {
    format!("user:{user}")
}

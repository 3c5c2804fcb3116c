//! Invitations into a tenant: a link that works once, for one e-mail address, made here and used there.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::accounts::{self, NewUser};
use super::audit::{self, Deed};
use super::links::digest;
use super::plans::{self, Thing};
use super::{Operator, random_token};
use crate::domain::actor::Authority;
use crate::domain::mail::MailState;
use crate::domain::page::{Page, Paging};
use crate::domain::scope::ScopeSet;
use crate::domain::{
    Actor, Error, FieldErrors, InvitationId, Noun, Permission, Rejection, Result, Role, TenantId, UserId, email,
};
use crate::model::{Invitation, NewInvitation, Tenant, User};
use crate::store;
use crate::store::notify::{self, Change};

/// Days for which a link may work.
pub const LONGEST_DAYS: i64 = 30;
pub const USUAL_DAYS: i64 = 7;

/// An invitation to be made.
#[derive(Debug, Clone)]
pub struct Ask {
    pub email: String,
    pub role: Role,
    pub days: i64,
    /// Whether the link goes to the address alone, and not to whoever invites.
    pub is_mailed: bool,
}

impl Ask {
    /// `field` is what whoever asks calls the days.
    pub fn parse(email: &str, role: &str, (field, days): (&str, Option<i64>)) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let email = match email.trim() {
            "" => errors.take("email", Err(Rejection::required())),
            email => errors.take("email", email::parse(email)),
        };
        let role = errors.take("role", role.parse());
        let days = days.unwrap_or(USUAL_DAYS);
        if !(1..=LONGEST_DAYS).contains(&days) {
            errors.add(field, Rejection::new("range", format!("must be from 1 to {LONGEST_DAYS}")));
        }
        match (email, role) {
            (Some(email), Some(role)) if errors.is_empty() => Ok(Self { email, role, days, is_mailed: false }),
            _ => Err(errors.into()),
        }
    }
}

/// A new invitation, with the token of its link, which exists nowhere else.
#[derive(Debug)]
pub struct Made {
    pub invitation: Invitation,
    pub token: String,
}

/// Only owners invite owners.
pub fn create(conn: &mut PgConnection, actor: &Actor, ask: &Ask, now: DateTime<Utc>) -> Result<Made> {
    actor.must(needed(ask.role))?;
    if store::memberships::has_email(conn, actor.tenant, &ask.email)? {
        return Err(Error::field("email", Rejection::new("member", "belongs to a member already")));
    }
    // The place is taken by whoever joins; who can't is not invited.
    plans::must_have_room(conn, actor.tenant, Thing::Member, now)?;
    let token = random_token()?;
    let row = NewInvitation {
        tenant_id: actor.tenant,
        email: &ask.email,
        role: ask.role,
        digest: &digest(&token),
        invited_by: actor.user,
        created_at: now,
        expires_at: now + TimeDelta::days(ask.days),
        mail_state: ask.is_mailed.then_some(MailState::Waiting),
        proves_email: ask.is_mailed || actor.is_operator || actor.user.is_none(),
    };
    let invitation = store::invitations::insert(conn, &row)?;
    audit::record(conn, actor, deed("invitation.created", &invitation), now)?;
    Ok(Made { invitation, token })
}

/// Permission to invite a person as this role. The permission to make owners includes the permission to invite.
const fn needed(role: Role) -> Permission {
    match role {
        Role::Owner => Permission::MakeOwners,
        _ => Permission::WriteMembers,
    }
}

/// True if the inviter could make this invitation today: an active operator, a member with the right role, or the console.
fn is_backed(conn: &mut PgConnection, invitation: &Invitation) -> Result<bool> {
    let Some(inviter) = invitation.invited_by else { return Ok(true) };
    let Some(user) = store::users::find(conn, inviter)?.filter(|user| user.is_active) else { return Ok(false) };
    if user.is_operator {
        return Ok(true);
    }
    let member = store::memberships::find(conn, invitation.tenant_id, inviter)?;
    let may = |role| Authority::person_must(role, &ScopeSet::all(), needed(invitation.role)).is_ok();
    Ok(member.is_some_and(|member| may(member.role)))
}

/// Those that can still be accepted, newest first.
pub fn list(conn: &mut PgConnection, actor: &Actor, now: DateTime<Utc>) -> Result<Vec<Invitation>> {
    actor.must(Permission::ReadMembers)?;
    store::invitations::list_live(conn, actor.tenant, now)
}

/// Returns one page of invitations that can still be accepted, newest first.
pub fn page(
    conn: &mut PgConnection,
    actor: &Actor,
    paging: &Paging<InvitationId>,
    now: DateTime<Utc>,
) -> Result<Page<Invitation, InvitationId>> {
    actor.must(Permission::ReadMembers)?;
    let rows = store::invitations::page_live(conn, actor.tenant, paging, now)?;
    let mut page = Page::cut(rows, paging, |row| row.id);
    if paging.offset.is_some() {
        page.total = Some(store::invitations::count_live(conn, actor.tenant, now)?);
    }
    Ok(page)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    actor.must(Permission::ReadMembers)?;
    store::invitations::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Invitation))
}

/// Its link stops working; one that was accepted stays so.
pub fn revoke(conn: &mut PgConnection, actor: &Actor, id: InvitationId, now: DateTime<Utc>) -> Result<Invitation> {
    actor.must(Permission::WriteMembers)?;
    let invitation = store::invitations::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Invitation))?;
    if invitation.accepted_at.is_some() {
        return Err(Error::conflict("this invitation was accepted already: remove the member instead"));
    }
    if store::invitations::revoke(conn, actor.tenant, id, now)? {
        audit::record(conn, actor, deed("invitation.revoked", &invitation), now)?;
    }
    Ok(invitation)
}

/// Revokes what this person sent out in the actor's tenant with a right that they no longer have.
pub(super) fn revoke_unbacked_in(
    conn: &mut PgConnection,
    actor: &Actor,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    let revoked = end_unbacked(conn, Some(actor.tenant), user, now)?;
    let deeds: Vec<_> = revoked.iter().map(|invitation| deed("invitation.revoked", invitation)).collect();
    if deeds.is_empty() { Ok(()) } else { audit::record_all(conn, actor, deeds, now) }
}

/// Revokes what this person sent out in any tenant with a right that they no longer have. Runs in `Scope::Instance`.
pub(super) fn revoke_unbacked(conn: &mut PgConnection, who: &Operator, user: UserId, now: DateTime<Utc>) -> Result<()> {
    for row in end_unbacked(conn, None, user, now)? {
        audit::record_for_instance(conn, who, Some(row.tenant_id), deed("invitation.revoked", &row), now)?;
    }
    Ok(())
}

/// In one tenant, or in all.
fn end_unbacked(
    conn: &mut PgConnection,
    tenant: Option<TenantId>,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Vec<Invitation>> {
    let mut revoked = Vec::new();
    for row in store::invitations::list_undecided(conn, tenant, user)? {
        if !is_backed(conn, &row)? && store::invitations::revoke(conn, row.tenant_id, row.id, now)? {
            revoked.push(row);
        }
    }
    Ok(revoked)
}

/// Where a link leads: the invitation, its tenant, and the user with its address, if there is one.
#[derive(Debug, Clone)]
pub struct Offer {
    pub invitation: Invitation,
    pub tenant: Tenant,
    pub user: Option<User>,
}

/// Runs in `Scope::Instance`: whoever holds the link belongs nowhere yet.
pub fn offer(conn: &mut PgConnection, token: &str, now: DateTime<Utc>) -> Result<Offer> {
    let invitation = live(conn, &digest(token), now)?.ok_or(Error::NotFound(Noun::Invitation))?;
    let tenant = open_to_guests(store::tenants::find(conn, invitation.tenant_id)?)?;
    let user = store::users::find_by_email(conn, &invitation.email)?;
    Ok(Offer { invitation, tenant, user })
}

/// The invitation of a link that can still be used, and whose inviter still has the right to make it.
fn live(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<Option<Invitation>> {
    let Some(invitation) = store::invitations::find_live(conn, digest, now)? else { return Ok(None) };
    Ok(if is_backed(conn, &invitation)? { Some(invitation) } else { None })
}

pub(super) fn is_usable(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let Some(invitation) = live(conn, digest, now)? else { return Ok(false) };
    Ok(store::tenants::find(conn, invitation.tenant_id)?.is_some())
}

/// The tenant, unless it is deleted or suspended: then no invitation is accepted.
fn open_to_guests(tenant: Option<Tenant>) -> Result<Tenant> {
    let tenant = tenant.filter(|tenant| tenant.deleted_at.is_none()).ok_or(Error::NotFound(Noun::Invitation))?;
    match tenant.suspended_at {
        Some(_) => Err(Error::conflict("this tenant is suspended: the invitation works again once it is resumed")),
        None => Ok(tenant),
    }
}

/// Somebody who is signed in joins. Runs in `Scope::Instance`.
pub fn accept(
    conn: &mut PgConnection,
    who: &Operator,
    token: &str,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Invitation> {
    let invitation = redeem(conn, token, Some(user), now)?;
    let user = accounts::find(conn, user)?;
    if invitation.email != user.email || !user.is_active {
        return Err(Error::forbidden(format!("this invitation is for {}: sign in as that", invitation.email)));
    }
    if invitation.invited_by == Some(user.id) {
        return Err(Error::conflict("you cannot accept an invitation that you made: another person must invite you"));
    }
    if invitation.proves_email {
        store::users::confirm_email(conn, user.id)?;
    }
    join(conn, who, &invitation, &user, now)?;
    Ok(invitation)
}

/// Somebody who has no account yet makes one, and joins. Runs in `Scope::Instance`.
pub fn accept_as_new(
    conn: &mut PgConnection,
    who: &Operator,
    token: &str,
    ask: &NewUser,
    now: DateTime<Utc>,
) -> Result<(Invitation, User)> {
    let invitation = redeem(conn, token, None, now)?;
    if invitation.email != ask.email {
        return Err(Error::NotFound(Noun::Invitation));
    }
    let is_email_confirmed = invitation.proves_email;
    let user = accounts::create(conn, who, &NewUser { is_operator: false, is_email_confirmed, ..ask.clone() }, now)?;
    join(conn, who, &invitation, &user, now)?;
    Ok((invitation, user))
}

/// Uses a link up. Locks users, members and the tenant in this order first, as acts do that take the inviter's right away:
/// they come before the link is used, or after it.
fn redeem(conn: &mut PgConnection, token: &str, guest: Option<UserId>, now: DateTime<Utc>) -> Result<Invitation> {
    let gone = || Error::NotFound(Noun::Invitation);
    let digest = digest(token);
    let found = store::invitations::find_live(conn, &digest, now)?.ok_or_else(gone)?;
    store::users::lock(conn, &[found.invited_by, guest].into_iter().flatten().collect::<Vec<_>>())?;
    if let Some(inviter) = found.invited_by {
        store::memberships::lock(conn, found.tenant_id, inviter)?;
    }
    open_to_guests(store::tenants::lock(conn, found.tenant_id)?)?;
    if !is_backed(conn, &found)? {
        return Err(gone());
    }
    store::invitations::redeem(conn, &digest, now)?.ok_or_else(gone)
}

fn join(
    conn: &mut PgConnection,
    who: &Operator,
    invitation: &Invitation,
    user: &User,
    now: DateTime<Utc>,
) -> Result<()> {
    plans::must_have_room(conn, invitation.tenant_id, Thing::Member, now)?;
    store::memberships::insert(conn, invitation.tenant_id, user.id, invitation.role, now)?;
    let who = Operator { user: Some(user.id), label: user.email.clone(), ..who.clone() };
    let deed = Deed::new("member.joined", format!("user:{}", user.id))
        .with("name", user.email.as_str())
        .with("role", invitation.role.as_str())
        .with("invitation", invitation.id.0);
    audit::record_for_instance(conn, &who, Some(invitation.tenant_id), deed, now)?;
    notify::send(conn, &Change::Access)
}

fn deed(action: &'static str, invitation: &Invitation) -> Deed {
    Deed::new(action, format!("invitation:{}", invitation.id))
        .with("name", invitation.email.as_str())
        .with("role", invitation.role.as_str())
}

//! Invitations into a tenant: links that work once, for one e-mail address.

use chrono::TimeDelta;
use diesel::pg::PgConnection;

use super::accounts::{self, NewUser};
use super::audit::{self, AuditedAct};
use super::links::digest;
use super::plans::{self, LimitedResource};
use super::{Operator, random_token};
use crate::domain::actor::Authority;
use crate::domain::mail::MailState;
use crate::domain::page::{Page, Paging};
use crate::domain::scope::ScopeSet;
use crate::domain::{
    Actor, Error, FieldErrors, InvitationId, Noun, Permission, Rejection, Result, Role, TenantId, UserId, email,
};
use crate::model::{Invitation, NewInvitation, Tenant, User};
use crate::store::notify::Change;
use crate::store::{self, Tx};

/// Longest lifetime of a link, in days.
pub const LONGEST_DAYS: i64 = 30;
pub const USUAL_DAYS: i64 = 7;

/// Invitation to create.
#[derive(Debug, Clone)]
pub struct InvitationRequest {
    pub email: String,
    pub role: Role,
    /// Lifetime of the link, in days.
    pub days: i64,
    /// True if the link is sent only by mail, and not shown to the inviter.
    pub is_mailed: bool,
}

impl InvitationRequest {
    /// Parses an invitation. `field` names the field of the days in error messages.
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

/// New invitation with the token of its link, which is stored nowhere.
#[derive(Debug)]
pub struct CreatedInvitation {
    pub invitation: Invitation,
    pub token: String,
}

/// Creates an invitation. Only owners can invite owners.
pub fn create(tx: &mut Tx<'_>, actor: &Actor, ask: &InvitationRequest) -> Result<CreatedInvitation> {
    let now = tx.now;
    actor.must(needed(ask.role))?;
    if store::memberships::has_email(tx, actor.tenant, &ask.email)? {
        return Err(Error::field("email", Rejection::new("member", "already belongs to a member")));
    }
    // A member is counted only on joining, but a full tenant refuses invitations already.
    plans::must_have_room(tx, actor.tenant, LimitedResource::Member)?;
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
    let invitation = store::invitations::insert(tx, &row)?;
    audit::record(tx, actor, deed("invitation.created", &invitation))?;
    Ok(CreatedInvitation { invitation, token })
}

/// Returns the permission needed to invite a person as this role. The permission to make owners includes inviting.
const fn needed(role: Role) -> Permission {
    match role {
        Role::Owner => Permission::MakeOwners,
        _ => Permission::WriteMembers,
    }
}

/// Returns true if the inviter could make this invitation today: an active operator, a member with the right role, or
/// the console.
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

/// Returns invitations that can still be accepted, newest first.
pub fn list(tx: &mut Tx<'_>, actor: &Actor) -> Result<Vec<Invitation>> {
    let now = tx.now;
    actor.must(Permission::ReadMembers)?;
    store::invitations::list_live(tx, actor.tenant, now)
}

/// Returns one page of invitations that can still be accepted, newest first.
pub fn page(tx: &mut Tx<'_>, actor: &Actor, paging: &Paging<InvitationId>) -> Result<Page<Invitation, InvitationId>> {
    let now = tx.now;
    actor.must(Permission::ReadMembers)?;
    let rows = store::invitations::page_live(tx, actor.tenant, paging, now)?;
    let mut page = Page::cut(rows, paging, |row| row.id);
    if paging.offset.is_some() {
        page.total = Some(store::invitations::count_live(tx, actor.tenant, now)?);
    }
    Ok(page)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    actor.must(Permission::ReadMembers)?;
    store::invitations::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Invitation))
}

/// Revokes an invitation, so that its link stops working. An accepted invitation cannot be revoked.
pub fn revoke(tx: &mut Tx<'_>, actor: &Actor, id: InvitationId) -> Result<Invitation> {
    let now = tx.now;
    actor.must(Permission::WriteMembers)?;
    let invitation = store::invitations::find(tx, actor.tenant, id)?.ok_or(Error::NotFound(Noun::Invitation))?;
    if invitation.accepted_at.is_some() {
        return Err(Error::conflict("this invitation was already accepted: remove the member instead"));
    }
    if store::invitations::revoke(tx, actor.tenant, id, now)? {
        audit::record(tx, actor, deed("invitation.revoked", &invitation))?;
    }
    Ok(invitation)
}

/// Revokes this person's invitations in the actor's tenant that need a right they have lost.
pub(super) fn revoke_unbacked_in(tx: &mut Tx<'_>, actor: &Actor, user: UserId) -> Result<()> {
    let revoked = end_unbacked(tx, Some(actor.tenant), user)?;
    let deeds: Vec<_> = revoked.iter().map(|invitation| deed("invitation.revoked", invitation)).collect();
    if deeds.is_empty() { Ok(()) } else { audit::record_all(tx, actor, deeds) }
}

/// Revokes this person's invitations in all tenants that need a right they have lost. Runs in `Scope::Instance`.
pub(super) fn revoke_unbacked(tx: &mut Tx<'_>, who: &Operator, user: UserId) -> Result<()> {
    for row in end_unbacked(tx, None, user)? {
        audit::record_for_instance(tx, who, Some(row.tenant_id), deed("invitation.revoked", &row))?;
    }
    Ok(())
}

/// Revokes unbacked invitations in one tenant, or in all if `tenant` is `None`.
fn end_unbacked(tx: &mut Tx<'_>, tenant: Option<TenantId>, user: UserId) -> Result<Vec<Invitation>> {
    let now = tx.now;
    let mut revoked = Vec::new();
    for row in store::invitations::list_undecided(tx, tenant, user)? {
        if !is_backed(tx, &row)? && store::invitations::revoke(tx, row.tenant_id, row.id, now)? {
            revoked.push(row);
        }
    }
    Ok(revoked)
}

/// Contents of an invitation page: the invitation, its tenant, and the user with its address, if one exists.
#[derive(Debug, Clone)]
pub struct Offer {
    pub invitation: Invitation,
    pub tenant: Tenant,
    pub user: Option<User>,
}

/// Finds the invitation of a link. Runs in `Scope::Instance`, since the visitor has no tenant yet.
pub fn offer(tx: &mut Tx<'_>, token: &str) -> Result<Offer> {
    let invitation = live(tx, &digest(token))?.ok_or(Error::NotFound(Noun::Invitation))?;
    let tenant = open_to_guests(store::tenants::find(tx, invitation.tenant_id)?)?;
    let user = store::users::find_by_email(tx, &invitation.email)?;
    Ok(Offer { invitation, tenant, user })
}

/// Returns the invitation of a usable link whose inviter still has the right to make it.
fn live(tx: &mut Tx<'_>, digest: &[u8]) -> Result<Option<Invitation>> {
    let now = tx.now;
    let Some(invitation) = store::invitations::find_live(tx, digest, now)? else { return Ok(None) };
    Ok(if is_backed(tx, &invitation)? { Some(invitation) } else { None })
}

pub(super) fn is_usable(tx: &mut Tx<'_>, digest: &[u8]) -> Result<bool> {
    let Some(invitation) = live(tx, digest)? else { return Ok(false) };
    Ok(store::tenants::find(tx, invitation.tenant_id)?.is_some())
}

/// Returns the tenant unless it is deleted or suspended, when no invitation can be accepted.
fn open_to_guests(tenant: Option<Tenant>) -> Result<Tenant> {
    let tenant = tenant.filter(|tenant| tenant.deleted_at.is_none()).ok_or(Error::NotFound(Noun::Invitation))?;
    match tenant.suspended_at {
        Some(_) => Err(Error::conflict("this tenant is suspended: the invitation works again once it is resumed")),
        None => Ok(tenant),
    }
}

/// Adds a signed-in user to the tenant. Runs in `Scope::Instance`.
pub fn accept(tx: &mut Tx<'_>, who: &Operator, token: &str, user: UserId) -> Result<Invitation> {
    let invitation = redeem(tx, token, Some(user))?;
    let user = accounts::find(tx, user)?;
    if invitation.email != user.email || !user.is_active {
        return Err(Error::forbidden(format!(
            "this invitation is for {}: sign in with that address",
            invitation.email
        )));
    }
    if invitation.invited_by == Some(user.id) {
        return Err(Error::conflict(
            "you cannot accept an invitation that you created: another person must invite you",
        ));
    }
    if invitation.proves_email {
        store::users::confirm_email(tx, user.id)?;
    }
    join(tx, who, &invitation, &user)?;
    Ok(invitation)
}

/// Creates an account and adds it to the tenant. Runs in `Scope::Instance`.
pub fn accept_as_new(tx: &mut Tx<'_>, who: &Operator, token: &str, ask: &NewUser) -> Result<(Invitation, User)> {
    let invitation = redeem(tx, token, None)?;
    if invitation.email != ask.email {
        return Err(Error::NotFound(Noun::Invitation));
    }
    let is_email_confirmed = invitation.proves_email;
    let user = accounts::create(tx, who, &NewUser { is_operator: false, is_email_confirmed, ..ask.clone() })?;
    join(tx, who, &invitation, &user)?;
    Ok((invitation, user))
}

/// Redeems a link. First locks users, members and the tenant, in the order used by acts that end the inviter's right.
/// Such an act therefore happens fully before or fully after.
fn redeem(tx: &mut Tx<'_>, token: &str, guest: Option<UserId>) -> Result<Invitation> {
    let now = tx.now;
    let gone = || Error::NotFound(Noun::Invitation);
    let digest = digest(token);
    let found = store::invitations::find_live(tx, &digest, now)?.ok_or_else(gone)?;
    store::users::lock(tx, &[found.invited_by, guest].into_iter().flatten().collect::<Vec<_>>())?;
    if let Some(inviter) = found.invited_by {
        store::memberships::lock(tx, found.tenant_id, inviter)?;
    }
    open_to_guests(store::tenants::lock(tx, found.tenant_id)?)?;
    if !is_backed(tx, &found)? {
        return Err(gone());
    }
    store::invitations::redeem(tx, &digest, now)?.ok_or_else(gone)
}

fn join(tx: &mut Tx<'_>, who: &Operator, invitation: &Invitation, user: &User) -> Result<()> {
    let now = tx.now;
    plans::must_have_room(tx, invitation.tenant_id, LimitedResource::Member)?;
    store::memberships::insert(tx, invitation.tenant_id, user.id, invitation.role, now)?;
    let who = Operator { user: Some(user.id), label: user.email.clone(), ..who.clone() };
    let deed = AuditedAct::new("member.joined", format!("user:{}", user.id))
        .with("name", user.email.as_str())
        .with("role", invitation.role.as_str())
        .with("invitation", invitation.id.0);
    audit::record_for_instance(tx, &who, Some(invitation.tenant_id), deed)?;
    tx.announce(Change::Access);
    Ok(())
}

fn deed(action: &'static str, invitation: &Invitation) -> AuditedAct {
    AuditedAct::new(action, format!("invitation:{}", invitation.id))
        .with("name", invitation.email.as_str())
        .with("role", invitation.role.as_str())
}

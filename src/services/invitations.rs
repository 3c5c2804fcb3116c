//! Invitations into a tenant: a link that works once, for one e-mail address, made here and used there.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::accounts::{self, NewUser, digest};
use super::audit::{self, Deed};
use super::plans::{self, Thing};
use super::{Operator, random_token};
use crate::domain::{Actor, Error, FieldErrors, InvitationId, Noun, Permission, Rejection, Result, Role, UserId, text};
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
            email => errors.take("email", text::email(email)),
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
    actor.must(Permission::WriteMembers)?;
    if ask.role == Role::Owner {
        actor.must(Permission::MakeOwners)?;
    }
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
        proves_email: ask.is_mailed || actor.is_operator || actor.user.is_none(),
    };
    let invitation = store::invitations::insert(conn, &row)?;
    audit::record(conn, actor, deed("invitation.created", &invitation), now)?;
    Ok(Made { invitation, token })
}

/// Those that can still be accepted, newest first.
pub fn list(conn: &mut PgConnection, actor: &Actor, now: DateTime<Utc>) -> Result<Vec<Invitation>> {
    actor.must(Permission::ReadMembers)?;
    store::invitations::list_live(conn, actor.tenant, now)
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

/// What somebody sent out with rights that they no longer have.
pub(super) fn revoke_of_inviter(
    conn: &mut PgConnection,
    actor: &Actor,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    let revoked = store::invitations::revoke_of_inviter(conn, Some(actor.tenant), user, now)?;
    let deeds: Vec<_> = revoked.iter().map(|invitation| deed("invitation.revoked", invitation)).collect();
    if deeds.is_empty() { Ok(()) } else { audit::record_all(conn, actor, deeds, now) }
}

/// What somebody sent out in all tenants, who may no longer sign in. Runs in `Scope::Instance`.
pub(super) fn revoke_of_user(conn: &mut PgConnection, who: &Operator, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let mut revoked = store::invitations::revoke_of_inviter(conn, None, user, now)?;
    revoked.sort_unstable_by_key(|invitation| (invitation.tenant_id, invitation.id));
    for invitation in revoked {
        let deed = deed("invitation.revoked", &invitation);
        audit::record_for_instance(conn, who, Some(invitation.tenant_id), deed, now)?;
    }
    Ok(())
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
    let invitation = store::invitations::find_live(conn, &digest(token), now)?;
    let invitation = invitation.ok_or(Error::NotFound(Noun::Invitation))?;
    let tenant = store::tenants::find(conn, invitation.tenant_id)?.ok_or(Error::NotFound(Noun::Invitation))?;
    let user = store::users::find_by_email(conn, &invitation.email)?;
    Ok(Offer { invitation, tenant, user })
}

/// Somebody who is signed in joins. Runs in `Scope::Instance`.
pub fn accept(
    conn: &mut PgConnection,
    who: &Operator,
    token: &str,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<Invitation> {
    let user = accounts::find(conn, user)?;
    let invitation = redeem(conn, token, now)?;
    if invitation.email != user.email || !user.is_active {
        return Err(Error::forbidden(format!("this invitation is for {}: sign in as that", invitation.email)));
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
    let invitation = redeem(conn, token, now)?;
    if invitation.email != ask.email {
        return Err(Error::NotFound(Noun::Invitation));
    }
    let is_email_confirmed = invitation.proves_email;
    let user = accounts::create(conn, who, &NewUser { is_operator: false, is_email_confirmed, ..ask.clone() }, now)?;
    join(conn, who, &invitation, &user, now)?;
    Ok((invitation, user))
}

fn redeem(conn: &mut PgConnection, token: &str, now: DateTime<Utc>) -> Result<Invitation> {
    let invitation = store::invitations::redeem(conn, &digest(token), now)?;
    let invitation = invitation.ok_or(Error::NotFound(Noun::Invitation))?;
    // Nobody joins a tenant that is deleted.
    store::tenants::find(conn, invitation.tenant_id)?.ok_or(Error::NotFound(Noun::Invitation))?;
    Ok(invitation)
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

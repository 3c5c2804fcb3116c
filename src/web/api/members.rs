//! `/api/tenants/{id}/members` and `…/invitations`: members of a tenant and open invitations.

use actix_web::HttpRequest;
use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::body::{idempotency, made, made_before, make};
use super::list::{List, PagingQuery, paging, text};
use super::tenants::parse_id;
use crate::domain::mail::MailState;
use crate::domain::{
    Error, FieldErrors, InvitationId, MembershipId, Noun, Permission, Rejection, Result, Role, UserId,
};
use crate::model::{Invitation, Membership, User};
use crate::services::idempotency::IdempotencyOutcome;
use crate::services::{invitations, members, tenants};
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::{Json, Query};
use crate::web::mail::MailQueue;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::{base, urls};

/// Member of a tenant.
#[derive(Debug, Serialize)]
pub struct MemberBody {
    /// Id of the user.
    user_id: UserId,
    /// E-mail address of the user.
    email: String,
    /// Name of the user.
    name: String,
    /// False: the user is deactivated and cannot sign in.
    is_active: bool,
    /// Role in the tenant.
    role: Role,
    /// When the user joined the tenant (UTC).
    created_at: DateTime<Utc>,
}

impl From<(Membership, User)> for MemberBody {
    fn from((row, user): (Membership, User)) -> Self {
        Self {
            user_id: row.user_id,
            email: user.email,
            name: user.name,
            is_active: user.is_active,
            role: row.role,
            created_at: row.created_at,
        }
    }
}

/// Filter and page of the list of members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Part of a name or e-mail address.
    q: Option<String>,
}

pub async fn index(state: Data<State>, bearer: Bearer, id: Path<String>, Query(query): Query<IndexQuery>) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    let paging = paging::<MembershipId>(query.limit, query.cursor.as_deref(), query.offset)?;
    let search = text("q", query.q)?;
    let scope = Scope::Tenant(actor.tenant);
    let list = move |tx: &mut Tx<'_>| members::page(tx, &actor, search.as_deref(), &paging);
    let page = state.api.read(scope, list).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(MemberBody::from))))
}

/// Request body to add a member: `user_id` or `email`, not both.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Id of the user.
    user_id: Option<UserId>,
    /// E-mail address of the user.
    email: Option<String>,
    /// Role in the tenant.
    role: Role,
}

/// Adds a user to a tenant without an invitation. Only operators may; admins invite.
pub async fn create(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<CreateBody>) -> Answer {
    let tenant = parse_id(&id)?;
    let who = bearer.operator_at(Permission::WriteMembers.scope(), tenant).await?;
    if body.user_id.is_some() == body.email.is_some() {
        let mut errors = FieldErrors::default();
        errors.add("user_id", Rejection::new("required", "or email is required, but not both"));
        return Err(Error::from(errors).into());
    }
    let add = move |tx: &mut Tx<'_>| {
        let user = tenants::user_to_add(tx, &who, body.user_id, body.email.as_deref())?;
        let membership = tenants::add_member(tx, &who, tenant, user.id, body.role)?;
        Ok(MemberBody::from((membership, user)))
    };
    let member = state.api.tx(Scope::Instance, add).await?;
    Ok(HttpResponse::Created().json(member))
}

/// Request body to change a member.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBody {
    /// New role in the tenant.
    role: Role,
}

pub async fn update(
    state: Data<State>,
    bearer: Bearer,
    path: Path<(String, String)>,
    Json(body): Json<UpdateBody>,
) -> Answer {
    let actor = bearer.actor_at(parse_id(&path.0)?).await?;
    let user = member(&path.1)?;
    let act = move |tx: &mut Tx<'_>| members::change_role(tx, &actor, user, body.role);
    let changed = state.api.tx(Scope::Tenant(parse_id(&path.0)?), act).await?;
    Ok(HttpResponse::Ok().json(MemberBody::from(changed)))
}

pub async fn destroy(state: Data<State>, bearer: Bearer, path: Path<(String, String)>) -> Answer {
    let actor = bearer.actor_at(parse_id(&path.0)?).await?;
    let user = member(&path.1)?;
    let act = move |tx: &mut Tx<'_>| members::remove(tx, &actor, user);
    state.api.tx(Scope::Tenant(parse_id(&path.0)?), act).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn member(text: &str) -> Result<UserId> {
    text.parse().map_err(|_| Error::NotFound(Noun::Membership))
}

/// Open invitation to a tenant.
#[derive(Debug, Serialize)]
pub struct InvitationBody {
    /// Id of the invitation.
    id: InvitationId,
    /// E-mail address of the invited person.
    email: String,
    /// Role that the person will have.
    role: Role,
    /// Id of the user who invited.
    invited_by: Option<UserId>,
    /// When the invitation was created (UTC).
    created_at: DateTime<Utc>,
    /// When the invitation expires (UTC).
    expires_at: DateTime<Utc>,
    /// State of the mail: `waiting`, `sent` or `failed`. `null` if it was not mailed.
    mail_state: Option<MailState>,
    /// Error of the last attempt to send the mail.
    mail_error: Option<String>,
    /// True if the link was mailed. Only in the response to the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_mailed: Option<bool>,
    /// Link to accept the invitation. Only in the response to the creation, and only if it was not mailed.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

impl From<Invitation> for InvitationBody {
    fn from(row: Invitation) -> Self {
        Self {
            id: row.id,
            email: row.email,
            role: row.role,
            invited_by: row.invited_by,
            created_at: row.created_at,
            expires_at: row.expires_at,
            mail_state: row.mail_state,
            mail_error: row.mail_error,
            is_mailed: None,
            link: None,
        }
    }
}

pub async fn invited(state: Data<State>, bearer: Bearer, id: Path<String>, Query(query): Query<PagingQuery>) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    let paging = query.paging()?;
    let list = move |tx: &mut Tx<'_>| invitations::page(tx, &actor, &paging);
    let page = state.api.read(Scope::Tenant(parse_id(&id)?), list).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(InvitationBody::from))))
}

/// Request body to invite a person.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InviteBody {
    /// E-mail address of the person.
    email: String,
    /// Role that the person will have.
    role: String,
    /// Days until the invitation expires.
    expires_in_days: Option<i64>,
}

/// Creates an invitation. A request repeated with the same `Idempotency-Key` creates no second one and gets the first
/// response again, without the link.
pub async fn invite(
    request: HttpRequest,
    state: Data<State>,
    bearer: Bearer,
    id: Path<String>,
    Json(body): Json<InviteBody>,
) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    actor.must(Permission::WriteMembers)?;
    let once = idempotency(&request, &body)?;
    let ask =
        invitations::InvitationRequest::parse(&body.email, &body.role, ("expires_in_days", body.expires_in_days))?;
    let (post, inviter, public_url) =
        (MailQueue::of(&state), bearer.caller.email.clone(), state.settings.public_url.clone());
    let ask = invitations::InvitationRequest { is_mailed: post.is_open(), ..ask };
    let create = move |tx: &mut Tx<'_>| {
        let work = |tx: &mut Tx<'_>| {
            let made = invitations::create(tx, &actor, &ask)?;
            post.invite(tx, &public_url, &inviter, made)
        };
        let keyed = (actor.tenant, "invitations", once.as_ref());
        make(tx, keyed, work, |(row, token)| {
            serde_json::to_value(shown(row.clone(), token.is_none(), None)).map_err(Error::bug)
        })
    };
    let list = format!("/api/tenants/{}/invitations", parse_id(&id)?);
    Ok(match state.api.tx(Scope::Tenant(parse_id(&id)?), create).await? {
        IdempotencyOutcome::First((row, token)) => {
            let link = |token: &String| base::of(&request, &state).join(&urls::invitation_with(token));
            let link = token.as_ref().map(link).transpose().map_err(Error::bug)?;
            made(&list, row.id.0, &shown(row, token.is_none(), link.map(String::from)))
        }
        IdempotencyOutcome::Again(answer) => made_before(&list, &answer),
    })
}

/// Returns the response for an invitation. `link` is set only for the first response, and only if the link was not
/// mailed.
fn shown(row: Invitation, is_mailed: bool, link: Option<String>) -> InvitationBody {
    InvitationBody { is_mailed: Some(is_mailed), link, ..InvitationBody::from(row) }
}

pub async fn uninvite(state: Data<State>, bearer: Bearer, path: Path<(String, String)>) -> Answer {
    let actor = bearer.actor_at(parse_id(&path.0)?).await?;
    let id: InvitationId = path.1.parse().map_err(|_| Error::NotFound(Noun::Invitation))?;
    let act = move |tx: &mut Tx<'_>| invitations::revoke(tx, &actor, id);
    state.api.tx(Scope::Tenant(parse_id(&path.0)?), act).await?;
    Ok(HttpResponse::NoContent().finish())
}

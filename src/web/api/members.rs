//! `/api/tenants/{id}/members` and `…/invitations`: who works in a tenant, and who is asked to.

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
use crate::services::idempotency::Told;
use crate::services::{invitations, members, tenants};
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::{Json, Query};
use crate::web::mail::Post;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::{base, urls};

#[derive(Debug, Serialize)]
pub struct MemberBody {
    user_id: UserId,
    email: String,
    name: String,
    is_active: bool,
    role: Role,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    cursor: Option<String>,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    user_id: Option<UserId>,
    email: Option<String>,
    role: Role,
}

/// Adds a user to a tenant without asking them: an operator's act. Others invite.
pub async fn create(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<CreateBody>) -> Answer {
    let tenant = parse_id(&id)?;
    let who = bearer.operator_at(Permission::WriteMembers.scope(), tenant).await?;
    if body.user_id.is_some() == body.email.is_some() {
        let mut errors = FieldErrors::default();
        errors.add("user_id", Rejection::new("required", "or email is required, and not both"));
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBody {
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

#[derive(Debug, Serialize)]
pub struct InvitationBody {
    id: InvitationId,
    email: String,
    role: Role,
    invited_by: Option<UserId>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// `waiting`, `sent` or `failed`; null if it was not mailed.
    mail_state: Option<MailState>,
    /// Why the last attempt to mail it failed.
    mail_error: Option<String>,
    /// In the answer to its creation, and nowhere else.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_mailed: Option<bool>,
    /// There too, where it is not mailed.
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

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InviteBody {
    email: String,
    role: String,
    expires_in_days: Option<i64>,
}

/// With an `Idempotency-Key`, a repeated request makes no second invitation: it gets the first answer again, without the
/// link.
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
    let ask = invitations::Ask::parse(&body.email, &body.role, ("expires_in_days", body.expires_in_days))?;
    let (post, inviter, public_url) =
        (Post::of(&state), bearer.caller.email.clone(), state.settings.public_url.clone());
    let ask = invitations::Ask { is_mailed: post.is_open(), ..ask };
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
        Told::First((row, token)) => {
            let link = |token: &String| base::of(&request, &state).join(&urls::invitation_with(token));
            let link = token.as_ref().map(link).transpose().map_err(Error::bug)?;
            made(&list, row.id.0, &shown(row, token.is_none(), link.map(String::from)))
        }
        Told::Again(answer) => made_before(&list, &answer),
    })
}

/// The answer to an invitation; the link stands in the first one, unless it is mailed.
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

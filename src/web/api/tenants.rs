//! `/api/tenants`: an operator's list of tenants, and the members of one.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::list::{List, paging};
use crate::domain::{Error, FieldErrors, Noun, Permission, Rejection, Role, TenantId, UserId};
use crate::model::{Membership, Tenant};
use crate::services::tenants::{self, NewTenant, TenantChange, TenantRef};
use crate::store::Scope;
use crate::store::notify::Change;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Debug, Serialize)]
pub struct TenantBody {
    id: TenantId,
    name: String,
    slug: String,
    plan: String,
    is_active: bool,
    key_prefix: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Tenant> for TenantBody {
    fn from(row: Tenant) -> Self {
        Self {
            id: row.id,
            name: row.name,
            slug: row.slug,
            plan: row.plan,
            is_active: row.is_active,
            key_prefix: row.key_prefix,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    offset: Option<i64>,
}

/// All tenants for an instance token; its own for a tenant's.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadTenant).await?;
    let paging = paging::<i64>(query.limit, None, Some(query.offset.unwrap_or(0)))?;
    let page = state.api.read(Scope::Instance, move |conn| tenants::list(conn, scope, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(TenantBody::from))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    name: String,
    slug: Option<String>,
    plan: Option<String>,
}

pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<CreateBody>) -> Answer {
    let who = bearer.operator(Permission::WriteTenant.scope())?;
    let ask = NewTenant::parse(&body.name, body.slug.as_deref(), body.plan.as_deref())?;
    let now = state.clock.now();
    let tenant = state.api.tx(Scope::Instance, move |conn| tenants::create(conn, &who, &ask, now)).await?;
    let place = format!("/api/tenants/{}", tenant.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, place)).json(TenantBody::from(tenant)))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let scope = bearer.reach(&named(&id)?, Permission::ReadTenant).await?;
    let Scope::Tenant(tenant) = scope else { return Err(Error::NotFound(Noun::Tenant).into()) };
    let found = state.api.read(scope, move |conn| tenants::find(conn, &TenantRef::Id(tenant))).await?;
    Ok(HttpResponse::Ok().json(TenantBody::from(found)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBody {
    name: Option<String>,
    plan: Option<String>,
    is_active: Option<bool>,
}

pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let who = bearer.operator(Permission::WriteTenant.scope())?;
    let tenant = parse_id(&id)?;
    let change = TenantChange { name: body.name, plan: body.plan, is_active: body.is_active };
    let now = state.clock.now();
    let update = move |conn: &mut _| tenants::update(conn, &who, tenant, change, now);
    let tenant = state.api.tx(Scope::Instance, update).await?;
    state.forget(&Change::Tenant(tenant.id));
    Ok(HttpResponse::Ok().json(TenantBody::from(tenant)))
}

#[derive(Debug, Serialize)]
pub struct MemberBody {
    user_id: UserId,
    email: String,
    name: String,
    role: Role,
    created_at: DateTime<Utc>,
}

impl From<(Membership, String, String)> for MemberBody {
    fn from((row, email, name): (Membership, String, String)) -> Self {
        Self { user_id: row.user_id, email, name, role: row.role, created_at: row.created_at }
    }
}

pub async fn members(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let scope = bearer.reach(&named(&id)?, Permission::ReadMembers).await?;
    let Scope::Tenant(tenant) = scope else { return Err(Error::NotFound(Noun::Tenant).into()) };
    let rows = state.api.read(scope, move |conn| tenants::members(conn, tenant)).await?;
    let data = rows.into_iter().map(MemberBody::from).collect();
    Ok(HttpResponse::Ok().json(List { data, next_cursor: None, total: None }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberAsk {
    user_id: Option<UserId>,
    email: Option<String>,
    role: Role,
}

/// Adds a user to a tenant: an operator's act, until people are invited.
pub async fn add_member(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<MemberAsk>) -> Answer {
    let who = bearer.operator(Permission::WriteMembers.scope())?;
    let tenant = parse_id(&id)?;
    let now = state.clock.now();
    if body.user_id.is_some() == body.email.is_some() {
        let mut errors = FieldErrors::default();
        errors.add("user_id", Rejection::new("required", "or email is required, and not both"));
        return Err(Error::from(errors).into());
    }
    let add = move |conn: &mut _| {
        let user = tenants::user_named(conn, body.user_id, body.email.as_deref())?;
        let membership = tenants::add_member(conn, &who, tenant, user.id, body.role, now)?;
        Ok(MemberBody::from((membership, user.email, user.name)))
    };
    let member = state.api.tx(Scope::Instance, add).await?;
    state.forget(&Change::Access);
    Ok(HttpResponse::Created().json(member))
}

fn parse_id(text: &str) -> Result<TenantId, Error> {
    text.parse().map_err(|_| Error::NotFound(Noun::Tenant))
}

fn named(text: &str) -> Result<TenantAsk, Error> {
    Ok(TenantAsk::new(Some(parse_id(text)?), None))
}

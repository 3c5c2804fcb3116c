//! `/api/tenants`: an operator's list of tenants. Who works in one: `members`.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::list::{List, paging};
use crate::domain::{Error, Noun, Permission, TenantId};
use crate::model::Tenant;
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

pub(super) fn parse_id(text: &str) -> Result<TenantId, Error> {
    text.parse().map_err(|_| Error::NotFound(Noun::Tenant))
}

pub(super) fn named(text: &str) -> Result<TenantAsk, Error> {
    Ok(TenantAsk::new(Some(parse_id(text)?), None))
}

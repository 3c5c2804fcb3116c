//! `/api/tenants`: an operator's list of tenants, their settings, and how they end. Who works in one: `members`.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::body::{cleared, set};
use super::list::{List, paging, text};
use crate::domain::tenant::TenantState;
use crate::domain::time::Time;
use crate::domain::{Error, Noun, Permission, TenantId};
use crate::model::Tenant;
use crate::services::Operator;
use crate::services::tenants::{self, NewTenant, Settings, TenantChange, TenantFilter, TenantRef, life};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, NoParameters, Query};
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
    /// None: each reader's own.
    time_zone: Option<String>,
    state: TenantState,
    suspended_at: Option<DateTime<Utc>>,
    suspended_reason: Option<String>,
    deleted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Tenant> for TenantBody {
    fn from(row: Tenant) -> Self {
        Self {
            state: row.state(),
            id: row.id,
            name: row.name,
            slug: row.slug,
            plan: row.plan,
            is_active: row.is_active,
            key_prefix: row.key_prefix,
            time_zone: row.time_zone,
            suspended_at: row.suspended_at,
            suspended_reason: row.suspended_reason,
            deleted_at: row.deleted_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    q: Option<String>,
    state: Option<TenantState>,
}

/// All tenants for an instance token, but deleted ones only where they are asked for; its own for a tenant's.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadTenant).await?;
    let paging = paging::<TenantId>(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = TenantFilter { only: scope.tenant(), text: text("q", query.q)?, state: query.state };
    let page = state.api.read(Scope::Instance, move |tx| tenants::list(tx, &filter, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(TenantBody::from))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    name: String,
    slug: Option<String>,
    plan: Option<String>,
    is_active: Option<bool>,
}

pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<CreateBody>) -> Answer {
    let who = bearer.operator(Permission::WriteTenant.scope())?;
    let parsed = NewTenant::parse(&body.name, body.slug.as_deref(), body.plan.as_deref())?;
    let ask = NewTenant { is_active: body.is_active.unwrap_or(true), ..parsed };
    let tenant = state.api.tx(Scope::Instance, move |tx| tenants::create(tx, &who, &ask)).await?;
    let place = format!("/api/tenants/{}", tenant.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, place)).json(TenantBody::from(tenant)))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    actor.must(Permission::ReadTenant)?;
    let find = move |tx: &mut Tx<'_>| tenants::find(tx, &TenantRef::Id(actor.tenant));
    let found = state.api.read(Scope::Tenant(actor.tenant), find).await?;
    Ok(HttpResponse::Ok().json(TenantBody::from(found)))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    #[serde(deserialize_with = "set")]
    name: Option<String>,
    #[serde(deserialize_with = "set")]
    key_prefix: Option<String>,
    /// `null`: each reader's own.
    #[serde(deserialize_with = "cleared")]
    time_zone: Option<Option<String>>,
    /// These two are an operator's to change.
    #[serde(deserialize_with = "set")]
    plan: Option<String>,
    #[serde(deserialize_with = "set")]
    is_active: Option<bool>,
    /// When the settings were written that this change is meant for: if they were changed since, 409.
    #[serde(deserialize_with = "set")]
    updated_at: Option<Time>,
}

/// What its admins may change, and, with an instance token, the rest.
pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    actor.must(Permission::WriteTenant)?;
    let is_operators = body.plan.is_some() || body.is_active.is_some();
    let who = match is_operators {
        true => Some(operator(&bearer, actor.tenant).await?),
        false => None,
    };
    let change = TenantChange { name: None, plan: body.plan, is_active: body.is_active, seen: None };
    let settings = Settings {
        name: body.name,
        key_prefix: body.key_prefix,
        time_zone: body.time_zone,
        seen: body.updated_at.map(Time::utc),
    };
    let scope = if is_operators { Scope::Instance } else { Scope::Tenant(actor.tenant) };
    let update = move |tx: &mut Tx<'_>| {
        let tenant = tenants::configure(tx, &actor, settings)?;
        match who {
            Some(who) => tenants::update(tx, &who, actor.tenant, change),
            None => Ok(tenant),
        }
    };
    let tenant = state.api.tx(scope, update).await?;
    Ok(told(tenant))
}

/// Answers with a tenant, once this process has forgotten how it was.
fn told(tenant: Tenant) -> HttpResponse {
    HttpResponse::Ok().json(TenantBody::from(tenant))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuspensionBody {
    reason: Option<String>,
}

pub async fn suspend(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<SuspensionBody>) -> Answer {
    let tenant = parse_id(&id)?;
    let who = operator(&bearer, tenant).await?;
    let act = move |tx: &mut Tx<'_>| life::suspend(tx, &who, tenant, body.reason.as_deref());
    Ok(told(state.api.tx(Scope::Instance, act).await?))
}

pub async fn resume(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let tenant = parse_id(&id)?;
    let who = operator(&bearer, tenant).await?;
    Ok(told(state.api.tx(Scope::Instance, move |tx| life::resume(tx, &who, tenant)).await?))
}

/// By an owner or an operator; for 30 days it can be restored.
pub async fn destroy(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    let db = state.api.charged_to(actor.tenant);
    let tenant = db.tx(Scope::Instance, move |tx| life::delete_own(tx, &actor)).await?;
    told(tenant);
    Ok(HttpResponse::NoContent().finish())
}

pub async fn restore(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let tenant = parse_id(&id)?;
    let who = operator(&bearer, tenant).await?;
    Ok(told(state.api.tx(Scope::Instance, move |tx| life::restore(tx, &who, tenant)).await?))
}

pub(super) fn parse_id(text: &str) -> Result<TenantId, Error> {
    text.parse().map_err(|_| Error::NotFound(Noun::Tenant))
}

async fn operator(bearer: &Bearer, tenant: TenantId) -> Result<Operator, Error> {
    bearer.operator_at(Permission::WriteTenant.scope(), tenant).await
}

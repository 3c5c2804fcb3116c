//! `/api/tenants`: tenants, their settings, suspension and deletion. `members` has their members.

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

/// Tenant as the API shows it.
#[derive(Debug, Serialize)]
pub struct TenantBody {
    /// Id of the tenant.
    id: TenantId,
    /// Name of the tenant.
    name: String,
    /// Unique short name, used in URLs and requests.
    slug: String,
    /// Name of the tenant's plan.
    plan: String,
    /// False: the tenant is suspended.
    is_active: bool,
    /// Prefix of new keys' secrets.
    key_prefix: String,
    /// Time zone in which members read times. `null`: each member uses their browser's.
    time_zone: Option<String>,
    /// State of the tenant.
    state: TenantState,
    /// When the tenant was suspended (UTC).
    suspended_at: Option<DateTime<Utc>>,
    /// Why the tenant was suspended.
    suspended_reason: Option<String>,
    /// When the tenant was deleted (UTC). It can be restored for 30 days.
    deleted_at: Option<DateTime<Utc>>,
    /// When the tenant was created (UTC).
    created_at: DateTime<Utc>,
    /// When the settings were last changed (UTC).
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

/// Filters and page of the list of tenants.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Part of a name or slug.
    q: Option<String>,
    /// State of the tenants.
    state: Option<TenantState>,
}

/// Lists tenants. An instance token gets all, but deleted ones only with `state=deleted`. A tenant token gets its own.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadTenant).await?;
    let paging = paging::<TenantId>(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = TenantFilter { only: scope.tenant(), text: text("q", query.q)?, state: query.state };
    let page = state.api.read(Scope::Instance, move |tx| tenants::list(tx, &filter, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(TenantBody::from))))
}

/// Request body to create a tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Name of the tenant.
    name: String,
    /// Unique short name. Absent: derived from the name.
    slug: Option<String>,
    /// Name of the plan.
    plan: Option<String>,
    /// False: the tenant is created suspended.
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

/// Request body to change a tenant. Omitted fields stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    /// Name of the tenant.
    #[serde(deserialize_with = "set")]
    name: Option<String>,
    /// Prefix of new keys' secrets.
    #[serde(deserialize_with = "set")]
    key_prefix: Option<String>,
    /// Time zone in which members read times. `null`: each member uses their browser's.
    #[serde(deserialize_with = "cleared")]
    time_zone: Option<Option<String>>,
    /// Name of the plan. Only operators may change it.
    #[serde(deserialize_with = "set")]
    plan: Option<String>,
    /// False suspends the tenant. Only operators may change it.
    #[serde(deserialize_with = "set")]
    is_active: Option<bool>,
    /// `updated_at` of the settings that the client read. If they were changed since, the response is 409.
    #[serde(deserialize_with = "set")]
    updated_at: Option<Time>,
}

/// Changes a tenant. Admins may change most fields; `plan` and `is_active` require an instance token.
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

/// Responds with a tenant after invalidating this process's caches.
fn told(tenant: Tenant) -> HttpResponse {
    HttpResponse::Ok().json(TenantBody::from(tenant))
}

/// Request body to suspend a tenant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SuspensionBody {
    /// Why the tenant is suspended, shown to its members.
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

/// Deletes a tenant. Owners and operators may; the tenant can be restored for 30 days.
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

//! `/api/plans`: limits of each plan, for operators, and a tenant's use of its plan.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::body::{cleared, set};
use super::list::{List, PagingQuery};
use super::tenants::parse_id;
use crate::domain::Permission;
use crate::domain::time::Time;
use crate::model::Plan;
use crate::services::plans::{self, PlanChange, PlanUsage};
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::{Json, NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Plan. `null` in a limit means unlimited.
#[derive(Debug, Serialize)]
pub struct PlanBody {
    /// Name of the plan.
    name: String,
    /// Maximum number of keys.
    max_keys: Option<i64>,
    /// Maximum number of webhooks.
    max_webhooks: Option<i64>,
    /// Maximum number of members.
    max_members: Option<i64>,
    /// Maximum number of events per calendar month.
    max_events_per_month: Option<i64>,
    /// Rate limit of keys that set none, in calls per hour.
    default_rate_limit: i64,
    /// Highest rate limit that a key may have, in calls per hour.
    max_rate_limit: Option<i64>,
    /// When the plan was last changed (UTC).
    updated_at: DateTime<Utc>,
}

impl From<Plan> for PlanBody {
    fn from(row: Plan) -> Self {
        Self {
            name: row.name,
            max_keys: row.max_keys,
            max_webhooks: row.max_webhooks,
            max_members: row.max_members,
            max_events_per_month: row.max_events_per_month,
            default_rate_limit: row.default_rate_limit,
            max_rate_limit: row.max_rate_limit,
            updated_at: row.updated_at,
        }
    }
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<PagingQuery>) -> Answer {
    bearer.operator(Permission::ReadTenant.scope())?;
    let paging = query.paging()?;
    let page = state.api.read(Scope::Instance, move |tx| plans::page(tx, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(PlanBody::from))))
}

/// Request body to change a plan. Omitted fields stay as they are; `null` means unlimited.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    /// Maximum number of keys.
    #[serde(deserialize_with = "cleared")]
    max_keys: Option<Option<i64>>,
    /// Maximum number of webhooks.
    #[serde(deserialize_with = "cleared")]
    max_webhooks: Option<Option<i64>>,
    /// Maximum number of members.
    #[serde(deserialize_with = "cleared")]
    max_members: Option<Option<i64>>,
    /// Maximum number of events per calendar month.
    #[serde(deserialize_with = "cleared")]
    max_events_per_month: Option<Option<i64>>,
    /// Rate limit of keys that set none, in calls per hour.
    #[serde(deserialize_with = "set")]
    default_rate_limit: Option<i64>,
    /// Highest rate limit that a key may have, in calls per hour.
    #[serde(deserialize_with = "cleared")]
    max_rate_limit: Option<Option<i64>>,
    /// `updated_at` of the plan that the client read. If the plan was changed since, the response is 409.
    #[serde(deserialize_with = "set")]
    updated_at: Option<Time>,
}

pub async fn update(state: Data<State>, bearer: Bearer, name: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let who = bearer.operator(Permission::WriteTenant.scope())?;
    let change = PlanChange {
        max_keys: body.max_keys,
        max_webhooks: body.max_webhooks,
        max_members: body.max_members,
        max_events_per_month: body.max_events_per_month,
        default_rate_limit: body.default_rate_limit,
        max_rate_limit: body.max_rate_limit,
        seen: body.updated_at.map(Time::utc),
    };
    let update = move |tx: &mut Tx<'_>| plans::update(tx, &who, &name, &change);
    let plan = state.api.tx(Scope::Instance, update).await?;
    Ok(HttpResponse::Ok().json(PlanBody::from(plan)))
}

/// Use of one limit of a plan.
#[derive(Debug, Serialize)]
pub struct Used {
    /// Number in use. `null` if it is not counted, since there is no limit.
    used: Option<i64>,
    /// Number allowed. `null` means unlimited.
    allowed: Option<i64>,
}

/// Tenant's use of its plan.
#[derive(Debug, Serialize)]
pub struct StandingBody {
    /// Name of the plan.
    plan: String,
    /// Number of keys.
    keys: Used,
    /// Number of webhooks.
    webhooks: Used,
    /// Number of members.
    members: Used,
    /// Number of events in the current calendar month.
    events_this_month: Used,
    /// Rate limit of keys that set none, in calls per hour.
    default_rate_limit: i64,
    /// Highest rate limit that a key may have, in calls per hour.
    max_rate_limit: Option<i64>,
}

impl From<PlanUsage> for StandingBody {
    fn from(standing: PlanUsage) -> Self {
        let PlanUsage { plan, keys, webhooks, members, events } = standing;
        let used = |used, allowed| Used { used, allowed };
        Self {
            keys: used(Some(keys), plan.max_keys),
            webhooks: used(Some(webhooks), plan.max_webhooks),
            members: used(Some(members), plan.max_members),
            events_this_month: used(events, plan.max_events_per_month),
            default_rate_limit: plan.default_rate_limit,
            max_rate_limit: plan.max_rate_limit,
            plan: plan.name,
        }
    }
}

pub async fn of_tenant(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let actor = bearer.actor_at(parse_id(&id)?).await?;
    let scope = Scope::Tenant(actor.tenant);
    let standing = state.api.read(scope, move |tx| plans::standing(tx, &actor)).await?;
    Ok(HttpResponse::Ok().json(StandingBody::from(standing)))
}

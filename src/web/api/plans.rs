//! `/api/plans`: what tenants may have, for operators; and what one has of it.

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
use crate::services::plans::{self, PlanChange, Standing};
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::{Json, NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// `null` is no limit.
#[derive(Debug, Serialize)]
pub struct PlanBody {
    name: String,
    max_keys: Option<i64>,
    max_webhooks: Option<i64>,
    max_members: Option<i64>,
    max_events_per_month: Option<i64>,
    default_rate_limit: i64,
    max_rate_limit: Option<i64>,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    #[serde(deserialize_with = "cleared")]
    max_keys: Option<Option<i64>>,
    #[serde(deserialize_with = "cleared")]
    max_webhooks: Option<Option<i64>>,
    #[serde(deserialize_with = "cleared")]
    max_members: Option<Option<i64>>,
    #[serde(deserialize_with = "cleared")]
    max_events_per_month: Option<Option<i64>>,
    #[serde(deserialize_with = "set")]
    default_rate_limit: Option<i64>,
    #[serde(deserialize_with = "cleared")]
    max_rate_limit: Option<Option<i64>>,
    /// When the plan was written that this change is meant for: if it was changed since, 409.
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

#[derive(Debug, Serialize)]
pub struct Used {
    /// `null` where it is not counted, since nothing limits it.
    used: Option<i64>,
    /// `null` is no limit.
    allowed: Option<i64>,
}

#[derive(Debug, Serialize)]
pub struct StandingBody {
    plan: String,
    keys: Used,
    webhooks: Used,
    members: Used,
    events_this_month: Used,
    default_rate_limit: i64,
    max_rate_limit: Option<i64>,
}

impl From<Standing> for StandingBody {
    fn from(standing: Standing) -> Self {
        let Standing { plan, keys, webhooks, members, events } = standing;
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

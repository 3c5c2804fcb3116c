//! `/api/deliveries`: where events stand on their way, and sending them again.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::list::{List, paging, text};
use super::webhook_logs::AttemptBody;
use super::webhooks;
use crate::domain::delivery::{DeliveryState, StatusClass};
use crate::domain::time::Time;
use crate::domain::{Actor, DeliveryId, Error, EventId, Noun, Permission, Result, WebhookId};
use crate::model::{Attempt, Delivery};
use crate::services::deliveries::{self, DeliveryDetail, DeliveryFilter};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Debug, Serialize)]
pub struct DeliveryBody {
    id: DeliveryId,
    event_id: EventId,
    event: String,
    webhook_id: WebhookId,
    state: DeliveryState,
    attempts_made: i64,
    attempts_max: i64,
    next_attempt_at: Option<DateTime<Utc>>,
    last_status: Option<i16>,
    last_error: Option<String>,
    created_at: DateTime<Utc>,
    delivered_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptBody>>,
}

impl From<Delivery> for DeliveryBody {
    fn from(row: Delivery) -> Self {
        Self {
            delivered_at: row.delivered_at(),
            attempts_made: row.attempts_made(),
            id: row.id,
            event_id: row.event_id,
            event: row.event_type,
            webhook_id: row.webhook_id,
            state: row.state,
            attempts_max: row.attempts_max,
            next_attempt_at: row.next_attempt_at,
            last_status: row.last_status,
            last_error: row.last_error,
            created_at: row.created_at,
            attempts: None,
        }
    }
}

impl DeliveryBody {
    pub fn with_attempts(detail: DeliveryDetail) -> Result<Self> {
        let whole = |attempt: &Attempt| {
            AttemptBody::whole(attempt.clone(), detail.event.payload.clone(), detail.body_of(attempt))
        };
        let attempts = detail.attempts.iter().map(whole).collect::<Result<Vec<_>>>()?;
        Ok(Self { attempts: Some(attempts), ..Self::from(detail.delivery) })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    webhook_id: Option<WebhookId>,
    event_id: Option<EventId>,
    state: Option<DeliveryState>,
    #[serde(rename = "type", alias = "event")]
    kind: Option<String>,
    status: Option<StatusClass>,
    since: Option<Time>,
    until: Option<Time>,
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadEvents).await?;
    listed(&state, scope, query).await
}

/// `/api/webhooks/{id}/deliveries`
pub async fn index_of_webhook(
    state: Data<State>,
    bearer: Bearer,
    id: Path<String>,
    Query(query): Query<IndexQuery>,
) -> Answer {
    let id = webhooks::parse_id(&id)?;
    let actor = webhooks::actor(&bearer, id).await?;
    actor.must(Permission::ReadEvents)?;
    let scope = Scope::Tenant(actor.tenant);
    state.api.read(scope, move |tx| crate::services::webhooks::find(tx, &actor, id)).await?;
    listed(&state, scope, IndexQuery { webhook_id: Some(id), ..query }).await
}

async fn listed(state: &State, scope: Scope, query: IndexQuery) -> Answer {
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = DeliveryFilter {
        webhook: query.webhook_id,
        event: query.event_id,
        state: query.state,
        kind: text("type", query.kind)?,
        status: query.status,
        since: query.since.map(Time::utc),
        until: query.until.map(Time::utc),
        skew: state.clock.offset(),
    };
    let page = state.api.read(scope, move |tx| deliveries::list(tx, scope, &filter, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(DeliveryBody::from))))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let id = parse_id(&id)?;
    let actor = actor(&bearer, id).await?;
    let scope = Scope::Tenant(actor.tenant);
    let detail = state.api.read(scope, move |tx| deliveries::find(tx, &actor, id)).await?;
    Ok(HttpResponse::Ok().json(DeliveryBody::with_attempts(detail)?))
}

/// Sends it again, at once.
pub async fn redeliver(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let delivery = directed(&state, &bearer, id, move |tx, actor| deliveries::redeliver(tx, actor, id)).await?;
    Ok(HttpResponse::Accepted().json(DeliveryBody::from(delivery)))
}

pub async fn cancel(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let delivery = directed(&state, &bearer, id, move |tx, actor| deliveries::cancel(tx, actor, id)).await?;
    Ok(HttpResponse::Ok().json(DeliveryBody::from(delivery)))
}

async fn directed<F>(state: &State, bearer: &Bearer, id: DeliveryId, act: F) -> Result<Delivery>
where
    F: FnOnce(&mut Tx<'_>, &Actor) -> Result<Delivery> + Send + 'static,
{
    let actor = actor(bearer, id).await?;
    let delivery = state.api.tx(Scope::Tenant(actor.tenant), move |tx| act(tx, &actor)).await?;
    Ok(delivery)
}

async fn actor(bearer: &Bearer, id: DeliveryId) -> Result<Actor> {
    bearer.actor_for(Noun::Delivery, move |tx| deliveries::tenant_of(tx, id)).await
}

fn parse_id(text: &str) -> Result<DeliveryId> {
    text.parse().map_err(|_| Error::NotFound(Noun::Delivery))
}

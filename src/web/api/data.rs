//! `/api/data`: what a key may see of its tenant's events, newest first.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::list::{List, paging};
use crate::domain::{Error, EventId, Permission, Result};
use crate::model::Event;
use crate::services::events::{self, EventFilter};
use crate::store::Scope;
use crate::web::gated::Keyed;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    /// Where the instance allows it, the key itself; `web::gated` has read it.
    #[serde(rename = "api_key")]
    _api_key: Option<String>,
}

#[derive(Debug, Serialize)]
struct EventBody {
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    /// The exact text that was published.
    data: Box<RawValue>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Event> for EventBody {
    type Error = Error;
    fn try_from(event: Event) -> Result<Self> {
        let data = RawValue::from_string(event.payload).map_err(Error::bug)?;
        Ok(Self { id: event.id, kind: event.kind, data, created_at: event.created_at })
    }
}

/// The tenant's events for a key with `events:read`; for any other, those that were published with it.
pub async fn index(state: Data<State>, keyed: Keyed, Query(query): Query<DataQuery>) -> Answer {
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let scope = Scope::Tenant(keyed.actor.tenant);
    let own = if keyed.actor.may(Permission::ReadEvents) { None } else { keyed.actor.key() };
    let filter = EventFilter { api_key: own, ..EventFilter::default() };
    let page = state.api.read(scope, move |tx| events::list(tx, scope, &filter, &paging)).await?;
    let (next, total) = (page.older.map(crate::domain::page::cursor), page.total);
    let data = page.rows.into_iter().map(EventBody::try_from).collect::<Result<Vec<_>>>()?;
    Ok(HttpResponse::Ok().json(List { data, next_cursor: next, total }))
}

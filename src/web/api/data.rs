//! `/api/data`: events of a key's tenant, newest first.

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
use crate::web::json::Query;
use crate::web::key_auth::KeyAuth;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Page of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// API key, if the settings allow it in the query. `web::gated` has read it already.
    #[serde(rename = "api_key")]
    _api_key: Option<String>,
}

/// Event as a key sees it.
#[derive(Debug, Serialize)]
struct EventBody {
    /// Id of the event.
    id: EventId,
    /// Type of the event, such as `order.created`.
    #[serde(rename = "type")]
    kind: String,
    /// Payload, exactly as it was published.
    data: Box<RawValue>,
    /// When the event was published (UTC).
    created_at: DateTime<Utc>,
}

impl TryFrom<Event> for EventBody {
    type Error = Error;
    fn try_from(event: Event) -> Result<Self> {
        let data = RawValue::from_string(event.payload).map_err(Error::bug)?;
        Ok(Self { id: event.id, kind: event.kind, data, created_at: event.created_at })
    }
}

/// Lists the tenant's events for a key with `events:read`. Any other key gets the events that were published with it.
pub async fn index(state: Data<State>, keyed: KeyAuth, Query(query): Query<DataQuery>) -> Answer {
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let scope = Scope::Tenant(keyed.actor.tenant);
    let own = if keyed.actor.may(Permission::ReadEvents) { None } else { keyed.actor.key() };
    let filter = EventFilter { api_key: own, ..EventFilter::default() };
    let page = state.api.read(scope, move |tx| events::list(tx, scope, &filter, &paging)).await?;
    let (next, total) = (page.older.map(crate::domain::page::cursor), page.total);
    let data = page.rows.into_iter().map(EventBody::try_from).collect::<Result<Vec<_>>>()?;
    Ok(HttpResponse::Ok().json(List { data, next_cursor: next, total }))
}

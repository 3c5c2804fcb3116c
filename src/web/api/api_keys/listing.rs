//! Lists of keys: narrowed, sorted, searched, counted.

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;

use super::body::KeyBody;
use crate::domain::api_key::{Environment, KeyMark, KeySort, KeyState};
use crate::domain::page::Paging;
use crate::domain::{Error, FieldErrors, Permission, Rejection, Result, TenantId, UserId, scope};
use crate::services::api_keys::{self, KeyFilter};
use crate::store::Scope;
use crate::web::api::list::{List, narrowing, paging};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Ten years: further back or ahead nobody looks.
const MOST_DAYS: i64 = 3_650;

/// Which keys are asked for, in a query or, for a search, in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAsk {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    sort: Option<KeySort>,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    #[serde(alias = "search", alias = "query", alias = "name")]
    q: Option<String>,
    state: Option<KeyState>,
    is_active: Option<bool>,
    environment: Option<Environment>,
    user_id: Option<UserId>,
    owner: Option<String>,
    scope: Option<String>,
    tag: Option<String>,
    unused_days: Option<i64>,
    expiring_days: Option<i64>,
}

impl ListAsk {
    fn filter(&self, now: DateTime<Utc>) -> Result<KeyFilter> {
        let mut errors = FieldErrors::default();
        let unused = errors.take("unused_days", days(self.unused_days)).flatten();
        let expiring = errors.take("expiring_days", days(self.expiring_days)).flatten();
        let asked = self.scope.as_deref().map(|text| errors.take("scope", scope::parse(text)));
        let filter = KeyFilter {
            text: errors.take("q", narrowing(self.q.as_deref())).flatten(),
            state: self.state,
            is_active: self.is_active,
            environment: self.environment,
            user: self.user_id,
            owner: errors.take("owner", narrowing(self.owner.as_deref())).flatten(),
            scopes: asked.flatten().map(|asked| scope::allowing(&asked)).unwrap_or_default(),
            tag: errors.take("tag", narrowing(self.tag.as_deref())).flatten(),
            unused_since: unused.map(|length| now - length),
            expiring_until: expiring.map(|length| now + length),
        };
        if errors.is_empty() { Ok(filter) } else { Err(errors.into()) }
    }

    fn sort(&self) -> KeySort {
        self.sort.unwrap_or(KeySort::Newest)
    }

    /// A cursor belongs to the order that it was made in.
    fn paging(&self) -> Result<Paging<KeyMark>> {
        let paging: Paging<KeyMark> = paging(self.limit, self.cursor.as_deref(), self.offset)?;
        match &paging.before {
            Some(mark) if mark.sort() != self.sort() => {
                let says = format!("is a cursor of the list sorted by {}", mark.sort());
                Err(Error::field("cursor", Rejection::new("cursor", says)))
            }
            _ => Ok(paging),
        }
    }

    async fn scope(&self, bearer: &Bearer) -> Result<Scope> {
        bearer.reach(&TenantAsk::new(self.tenant_id, self.tenant.clone()), Permission::ReadKeys).await
    }
}

fn days(days: Option<i64>) -> Result<Option<TimeDelta>, Rejection> {
    match days {
        Some(days) if !(1..=MOST_DAYS).contains(&days) => {
            Err(Rejection::new("range", format!("must be from 1 to {MOST_DAYS}")))
        }
        days => Ok(days.map(TimeDelta::days)),
    }
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(ask): Query<ListAsk>) -> Answer {
    listed(&state, &bearer, ask).await
}

/// Page of a search, as clients of another service send it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    limit: Option<i64>,
    offset: Option<i64>,
}

/// Takes `limit` and `offset` in the body or in the query.
pub async fn search(
    state: Data<State>,
    bearer: Bearer,
    Query(page): Query<PageQuery>,
    Json(ask): Json<ListAsk>,
) -> Answer {
    let limit = either("limit", ask.limit, page.limit)?;
    let offset = either("offset", ask.offset, page.offset)?;
    listed(&state, &bearer, ListAsk { limit, offset, ..ask }).await
}

fn either(field: &str, in_body: Option<i64>, in_query: Option<i64>) -> Result<Option<i64>> {
    match (in_body, in_query) {
        (Some(one), Some(other)) if one != other => {
            let says = "differs in the body and the query: give it once";
            Err(Error::field(field, Rejection::new("conflict", says)))
        }
        _ => Ok(in_body.or(in_query)),
    }
}

async fn listed(state: &State, bearer: &Bearer, ask: ListAsk) -> Answer {
    let (scope, now) = (ask.scope(bearer).await?, state.clock.now());
    let (filter, sort, paging) = (ask.filter(now)?, ask.sort(), ask.paging()?);
    let page = state.api.read(scope, move |tx| api_keys::list(tx, scope, &filter, sort, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(|key| KeyBody::new(key, now)))))
}

pub async fn count(state: Data<State>, bearer: Bearer, Query(ask): Query<ListAsk>) -> Answer {
    counted(&state, &bearer, ask).await
}

pub async fn count_search(state: Data<State>, bearer: Bearer, Json(ask): Json<ListAsk>) -> Answer {
    counted(&state, &bearer, ask).await
}

/// `total` is another service's name of `count`.
async fn counted(state: &State, bearer: &Bearer, ask: ListAsk) -> Answer {
    let (scope, now) = (ask.scope(bearer).await?, state.clock.now());
    let filter = ask.filter(now)?;
    let count = state.api.read(scope, move |tx| api_keys::count(tx, scope, &filter)).await?;
    Ok(HttpResponse::Ok().json(json!({"count": count, "total": count})))
}

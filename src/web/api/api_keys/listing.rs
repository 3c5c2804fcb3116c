//! `/api/keys`, `/search` and `/count`: lists of keys with filters, sorting and counts.

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
use crate::web::api::body::named;
use crate::web::api::list::{List, narrowing, paging};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Maximum for the filters in days: ten years, further than any real search.
const MOST_DAYS: i64 = 3_650;

/// Filters, order and page of a list. They come in a query, or for a search in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAsk {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Order of the list.
    sort: Option<KeySort>,
    /// Tenant's id, for an instance token.
    tenant_id: Option<TenantId>,
    /// Tenant's slug, for an instance token.
    tenant: Option<String>,
    /// Words to search for in names, owners, tags, scopes, ids and hints.
    q: Option<String>,
    /// Words to search for, under another name.
    search: Option<String>,
    /// Words to search for, under another name.
    query: Option<String>,
    /// Words to search for, under another name.
    name: Option<String>,
    /// State of the keys.
    state: Option<KeyState>,
    /// True: active keys only. False: deactivated keys only.
    is_active: Option<bool>,
    /// Environment of the keys.
    environment: Option<Environment>,
    /// Id of the user who created the keys.
    user_id: Option<UserId>,
    /// Owner of the key, in the client's own words.
    owner: Option<String>,
    /// Scope that the keys allow, directly or through a wildcard.
    scope: Option<String>,
    /// Tag of the keys.
    tag: Option<String>,
    /// Lists keys neither used nor created in this many days.
    unused_days: Option<i64>,
    /// Lists keys that expire within this many days.
    expiring_days: Option<i64>,
}

impl ListAsk {
    fn filter(&self, now: DateTime<Utc>) -> Result<KeyFilter> {
        let mut errors = FieldErrors::default();
        let unused = errors.take("unused_days", days(self.unused_days)).flatten();
        let expiring = errors.take("expiring_days", days(self.expiring_days)).flatten();
        let asked = self.scope.as_deref().map(|text| errors.take("scope", scope::parse(text)));
        let names = [&self.q, &self.search, &self.query, &self.name].map(Option::as_deref);
        let filter = KeyFilter {
            text: errors.take("q", named(names).and_then(narrowing)).flatten(),
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

    /// Refuses what chooses a page of a list: a count has no pages.
    fn must_be_whole(&self) -> Result<()> {
        let mut errors = FieldErrors::default();
        for (field, is_given) in [
            ("limit", self.limit.is_some()),
            ("cursor", self.cursor.is_some()),
            ("offset", self.offset.is_some()),
            ("sort", self.sort.is_some()),
        ] {
            if is_given {
                errors.add(field, Rejection::new("unknown", "is not a parameter of a count"));
            }
        }
        errors.refuse()
    }

    /// Reads the page. A cursor is valid only for the order in which it was made.
    fn paging(&self) -> Result<Paging<KeyMark>> {
        let paging: Paging<KeyMark> = paging(self.limit, self.cursor.as_deref(), self.offset)?;
        match &paging.before {
            Some(mark) if mark.sort() != self.sort() => {
                let says = format!("belongs to the list sorted by {}", mark.sort());
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

/// Page of a search in the query, as clients of another service send it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PageQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Number of rows to skip.
    offset: Option<i64>,
}

/// Searches keys. `limit` and `offset` may stand in the body or in the query.
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

/// Counts keys. `total` repeats `count` under the name that another service uses.
async fn counted(state: &State, bearer: &Bearer, ask: ListAsk) -> Answer {
    let (scope, now) = (ask.scope(bearer).await?, state.clock.now());
    ask.must_be_whole()?;
    let filter = ask.filter(now)?;
    let count = state.api.read(scope, move |tx| api_keys::count(tx, scope, &filter)).await?;
    Ok(HttpResponse::Ok().json(json!({"count": count, "total": count})))
}

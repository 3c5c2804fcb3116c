//! Queries on `usage_logs`: the log of verifications.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::usage::{self, Outcome, RecordPlace};
use crate::domain::{ApiKeyId, Result};
use crate::model::UsageLog;
use crate::schema::usage_logs;

/// Which records are wanted.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    pub key: Option<ApiKeyId>,
    pub outcome: Option<Outcome>,
    /// All but valid ones.
    pub is_refused: bool,
    pub request: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
}

/// From when until when the records of a request of our own can lie.
type Stretch = (DateTime<Utc>, DateTime<Utc>);

/// A clock may have been set back by so much since a request began.
const SET_BACK: TimeDelta = TimeDelta::seconds(10);
/// How long most requests take at the very most, and all of them: the longest deadline of a body, and a minute.
const LASTING: [TimeDelta; 2] = [TimeDelta::seconds(10), TimeDelta::seconds(660)];

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &LogFilter,
    paging: &Paging<RecordPlace>,
) -> Result<Vec<UsageLog>> {
    let began_at = filter.request.as_deref().and_then(usage::began_at);
    let stretches = began_at.map(|at| LASTING.map(|lasting| (at - SET_BACK, at + lasting)));
    let Some([short, long]) = stretches else { return page(conn, scope, filter, None, paging) };
    let found = page(conn, scope, filter, Some(short), paging)?;
    let has_own = found.iter().any(|record| !record.is_reported);
    if has_own { Ok(found) } else { page(conn, scope, filter, Some(long), paging) }
}

fn page(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &LogFilter,
    stretch: Option<Stretch>,
    paging: &Paging<RecordPlace>,
) -> Result<Vec<UsageLog>> {
    let mut query = usage_logs::table.select(UsageLog::as_select()).limit(paging.size.plus_one()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(usage_logs::tenant_id.eq(tenant));
    }
    if let Some(key) = filter.key {
        query = query.filter(usage_logs::api_key_id.eq(key));
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(usage_logs::outcome.eq(outcome));
    }
    if filter.is_refused {
        query = query.filter(usage_logs::outcome.ne(Outcome::Valid));
    }
    if let Some(request) = &filter.request {
        query = query.filter(usage_logs::request_id.eq(request.clone()));
        // Only what was reported has an index by the id.
        query = match stretch {
            Some((since, until)) => {
                let is_inside = usage_logs::created_at.ge(since).and(usage_logs::created_at.lt(until));
                query.filter(usage_logs::is_reported.or(is_inside))
            }
            None => query.filter(usage_logs::is_reported),
        };
    }
    if let Some(since) = filter.since {
        query = query.filter(usage_logs::created_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(usage_logs::created_at.lt(until));
    }
    if let Some(place) = paging.before {
        let is_earlier = usage_logs::created_at.lt(place.at).or(usage_logs::id.lt(place.id));
        query = query.filter(usage_logs::created_at.le(place.at)).filter(is_earlier);
    }
    query = match paging.after {
        Some(place) => {
            let is_later = usage_logs::created_at.gt(place.at).or(usage_logs::id.gt(place.id));
            let query = query.filter(usage_logs::created_at.ge(place.at)).filter(is_later);
            query.order((usage_logs::created_at.asc(), usage_logs::id.asc()))
        }
        None => query.order((usage_logs::created_at.desc(), usage_logs::id.desc())),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

//! Queries on `usage_logs`: the log of verifications.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{max, not};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text, Timestamptz};

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::usage::{self, Outcome, RecordPlace};
use crate::domain::{ApiKeyId, Result, TenantId};
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
/// After the newest of its records, a request may have gone on for so long.
const GOES_ON: TimeDelta = TimeDelta::seconds(5);

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &LogFilter,
    paging: &Paging<RecordPlace>,
) -> Result<Vec<UsageLog>> {
    let Some(request) = &filter.request else { return page(conn, &of(scope), filter, None, paging) };
    let Some(at) = usage::began_at(request) else { return page(conn, &of(scope), filter, None, paging) };
    let [short, long] = LASTING.map(|lasting| (at - SET_BACK, at + lasting));
    for stretch in [short, long] {
        // An index finds a request in the records of a tenant.
        let tenants = match scope {
            Scope::Tenant(tenant) => vec![tenant],
            Scope::Instance => tenants_with(conn, request, stretch)?,
        };
        let newest = newest_own(conn, &tenants, request, stretch)?;
        if stretch == long || newest.is_some_and(|newest| newest + GOES_ON < short.1) {
            return page(conn, &Some(tenants), filter, Some(stretch), paging);
        }
    }
    Ok(Vec::new())
}

fn of(scope: Scope) -> Option<Vec<TenantId>> {
    match scope {
        Scope::Tenant(tenant) => Some(vec![tenant]),
        Scope::Instance => None,
    }
}

/// Those that have records of a request of our own, or reports under its id: each is looked at by its own indexes.
fn tenants_with(conn: &mut PgConnection, request: &str, (since, until): Stretch) -> Result<Vec<TenantId>> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        id: TenantId,
    }
    let query = diesel::sql_query(
        "SELECT id FROM tenants
         LEFT JOIN LATERAL (SELECT TRUE AS is_there FROM usage_logs WHERE tenant_id = tenants.id AND request_id = $1
             AND created_at >= $2 AND created_at < $3 LIMIT 1) own ON TRUE
         LEFT JOIN LATERAL (SELECT TRUE AS is_there FROM usage_logs WHERE tenant_id = tenants.id AND request_id = $1
             AND is_reported LIMIT 1) reported ON TRUE
         WHERE own.is_there OR reported.is_there",
    );
    let bound = query.bind::<Text, _>(request).bind::<Timestamptz, _>(since).bind::<Timestamptz, _>(until);
    let found: Vec<Found> = bound.load(conn)?;
    Ok(found.into_iter().map(|found| found.id).collect())
}

/// When the newest record lies that is not reported.
fn newest_own(
    conn: &mut PgConnection,
    tenants: &[TenantId],
    request: &str,
    (since, until): Stretch,
) -> Result<Option<DateTime<Utc>>> {
    let own = usage_logs::table
        .filter(usage_logs::tenant_id.eq_any(tenants))
        .filter(usage_logs::request_id.eq(request))
        .filter(usage_logs::created_at.ge(since).and(usage_logs::created_at.lt(until)))
        .filter(not(usage_logs::is_reported));
    Ok(own.select(max(usage_logs::created_at)).first(conn)?)
}

/// Of these tenants, or of all.
fn page(
    conn: &mut PgConnection,
    tenants: &Option<Vec<TenantId>>,
    filter: &LogFilter,
    stretch: Option<Stretch>,
    paging: &Paging<RecordPlace>,
) -> Result<Vec<UsageLog>> {
    let mut query = usage_logs::table.select(UsageLog::as_select()).limit(paging.size.plus_one()).into_boxed();
    query = match tenants.as_deref() {
        // Of a list of one, an index would not know the order.
        Some([tenant]) => query.filter(usage_logs::tenant_id.eq(*tenant)),
        Some(tenants) => query.filter(usage_logs::tenant_id.eq_any(tenants.to_vec())),
        None => query,
    };
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

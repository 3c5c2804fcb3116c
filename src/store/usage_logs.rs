//! Queries on `usage_logs`: the log of verifications.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{AsSelect, not};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::usage::{self, Outcome, RecordPlace};
use crate::domain::{ApiKeyId, Result, TenantId};
use crate::model::UsageLog;
use crate::model::usage_log::usage_logs;

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

/// After one record of a request, and after its beginning, the next one comes within so long: a batch looks keys up and hashes
/// secrets one after the other.
const GOES_ON: TimeDelta = TimeDelta::seconds(5);

/// Where the records of most requests lie, and where all of them do. A clock may have been set back a little since a request
/// began; the longest deadline of a body is ten minutes.
fn stretches(began_at: DateTime<Utc>) -> [Stretch; 2] {
    let around = |before, after| (began_at - TimeDelta::milliseconds(before), began_at + after);
    [around(500, GOES_ON + TimeDelta::seconds(1)), around(10_000, TimeDelta::seconds(660))]
}

/// Which of the records of a request are meant, if it is one request's that are wanted.
#[derive(Debug, Clone, Copy)]
enum Part {
    Any,
    /// Those have an index by the id.
    Reported,
    /// Those lie in the index by time.
    Own(Stretch),
}

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &LogFilter,
    paging: &Paging<RecordPlace>,
) -> Result<Vec<UsageLog>> {
    let (size, skipped) = (paging.size.plus_one(), paging.offset.unwrap_or_default());
    let tenant = match scope {
        Scope::Tenant(tenant) => Some(tenant),
        Scope::Instance => None,
    };
    let Some(request) = &filter.request else {
        return Ok(part(tenant, filter, Part::Any, paging).limit(size).offset(skipped).load(conn)?);
    };
    let first = size + skipped;
    let mut found: Vec<UsageLog> = part(tenant, filter, Part::Reported, paging).limit(first).load(conn)?;
    for (tenant, stretch) in own(conn, tenant, request)? {
        found.extend(part(Some(tenant), filter, Part::Own(stretch), paging).limit(first).load::<UsageLog>(conn)?);
    }
    found.sort_unstable_by_key(|record| (record.created_at, record.id));
    if paging.after.is_none() {
        found.reverse();
    }
    let page = found.into_iter().skip(usize::try_from(skipped).unwrap_or_default());
    Ok(page.take(usize::try_from(size).unwrap_or_default()).collect())
}

/// In whose tenants a request of our own has records, and where they lie. A batch can be about keys of several.
fn own(conn: &mut PgConnection, tenant: Option<TenantId>, request: &str) -> Result<Vec<(TenantId, Stretch)>> {
    #[derive(QueryableByName)]
    struct Newest {
        #[diesel(sql_type = BigInt)]
        tenant_id: TenantId,
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
    }
    let Some(began_at) = usage::began_at(request) else { return Ok(Vec::new()) };
    let [short, long] = stretches(began_at);
    for stretch in [short, long] {
        // Of each tenant by itself: that is what the index knows.
        let newest = diesel::sql_query(
            "SELECT tenants.id AS tenant_id, own.at FROM tenants CROSS JOIN LATERAL (
                 SELECT created_at AS at FROM usage_logs
                 WHERE tenant_id = tenants.id AND request_id = $1 AND NOT is_reported AND created_at >= $2 AND created_at < $3
                 ORDER BY created_at DESC LIMIT 1) own
             WHERE $4 IS NULL OR tenants.id = $4",
        );
        let newest =
            newest.bind::<Text, _>(request).bind::<Timestamptz, _>(stretch.0).bind::<Timestamptz, _>(stretch.1);
        let newest: Vec<Newest> = newest.bind::<Nullable<BigInt>, _>(tenant).load(conn)?;
        let is_all = !newest.is_empty() && newest.iter().all(|one| one.at + GOES_ON < stretch.1);
        if is_all || stretch == long {
            return Ok(newest.into_iter().map(|one| (one.tenant_id, stretch)).collect());
        }
    }
    Ok(Vec::new())
}

type Query<'a> = usage_logs::BoxedQuery<'a, Pg, <AsSelect<UsageLog, Pg> as Expression>::SqlType>;

fn part(tenant: Option<TenantId>, filter: &LogFilter, part: Part, paging: &Paging<RecordPlace>) -> Query<'static> {
    let mut query = usage_logs::table.select(UsageLog::as_select()).into_boxed();
    if let Some(tenant) = tenant {
        query = query.filter(usage_logs::tenant_id.eq(tenant));
    }
    query = match part {
        Part::Any => query,
        Part::Reported => query.filter(usage_logs::is_reported),
        Part::Own((since, until)) => {
            let is_inside = usage_logs::created_at.ge(since).and(usage_logs::created_at.lt(until));
            query.filter(not(usage_logs::is_reported)).filter(is_inside)
        }
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
    match paging.after {
        Some(place) => {
            let is_later = usage_logs::created_at.gt(place.at).or(usage_logs::id.gt(place.id));
            let query = query.filter(usage_logs::created_at.ge(place.at)).filter(is_later);
            query.order((usage_logs::created_at.asc(), usage_logs::id.asc()))
        }
        None => query.order((usage_logs::created_at.desc(), usage_logs::id.desc())),
    }
}

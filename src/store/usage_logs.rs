//! Queries on `usage_logs`, the log of verifications.

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

/// Filter of the log.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    /// Key that was verified.
    pub key: Option<ApiKeyId>,
    /// Outcome of the verification.
    pub outcome: Option<Outcome>,
    /// True: all outcomes but valid ones.
    pub is_refused: bool,
    /// Id of the request, exactly.
    pub request: Option<String>,
    /// Earliest time (UTC), inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time (UTC), exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// Start and end of the time in which this server's records of one request can lie.
type Stretch = (DateTime<Utc>, DateTime<Utc>);

/// Longest gap between two records of one request, and between its start and the first record. A batch looks up keys
/// and hashes secrets one after another.
const GOES_ON: TimeDelta = TimeDelta::seconds(5);

/// Returns the time in which the records of most requests lie, and the time in which all of them do. A clock may have
/// been set back a little since a request began. The longest deadline of a body is ten minutes.
fn stretches(began_at: DateTime<Utc>) -> [Stretch; 2] {
    let around = |before, after| (began_at - TimeDelta::milliseconds(before), began_at + after);
    [around(500, GOES_ON + TimeDelta::seconds(1)), around(10_000, TimeDelta::seconds(660))]
}

/// Part of the log to read, if the filter names a request.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// All records.
    Any,
    /// Records that another process reported: they have an index by the request's id.
    Reported,
    /// Records of this server: they are found in the index by time.
    Own(Stretch),
}

/// Lists records, newest first; oldest first if `paging.after` is set.
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

/// Returns the tenants in which a request of this server has records, and when. A batch can verify keys of several
/// tenants.
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
        // Each tenant is searched by itself, since the index begins with the tenant.
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

/// Selects the records that match a filter, in the order of the page.
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

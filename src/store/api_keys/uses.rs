//! Queries on `key_uses`: last uses of keys, lists in their order, and unused keys.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};

use super::search::Rare;
use crate::domain::api_key::{KeyMark, SortValue};
use crate::domain::{ApiKeyId, Result, TenantId};
use crate::store::Scope;
use crate::store::cached_sql::cached_sql;

/// Last use of a key.
#[derive(Debug, Clone)]
pub struct Use {
    /// Id of the key.
    pub id: ApiKeyId,
    /// Time of the use (UTC).
    pub at: DateTime<Utc>,
    /// IP address of the caller.
    pub ip: Option<String>,
}

/// Moves last uses forward, never back. Rows are locked in the order of their ids, so that two processes never
/// deadlock, whatever the plan.
pub fn update_last_used(conn: &mut PgConnection, uses: &[Use]) -> Result<()> {
    cached_sql(
        "WITH held AS (
             SELECT api_key_id, used.at, used.ip
             FROM key_uses JOIN unnest($1, $2, $3) AS used (id, at, ip) ON api_key_id = used.id
             WHERE used_at < used.at ORDER BY api_key_id FOR NO KEY UPDATE OF key_uses
         )
         UPDATE key_uses SET used_at = held.at, used_ip = coalesce(held.ip, used_ip)
         FROM held WHERE key_uses.api_key_id = held.api_key_id",
    )
    .bind::<Array<BigInt>, _>(uses.iter().map(|used| used.id.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(uses.iter().map(|used| used.at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(uses.iter().map(|used| used.ip.as_deref()).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}

/// Stretch of a list: rows after a mark, or from the start or end.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// Row that the stretch follows; `None` for the start of the list.
    pub mark: Option<&'a KeyMark>,
    /// True to read towards the start of the list.
    pub is_backwards: bool,
    /// Maximum number of rows.
    pub limit: i64,
    /// Rows to skip.
    pub offset: i64,
}

impl Stretch<'_> {
    /// SQL condition for rows beyond the mark: compares `row` with `place`.
    fn beyond(&self, row: &str, place: &str) -> String {
        let than = if self.is_backwards { ">" } else { "<" };
        if self.mark.is_some() { format!("{row} {than} {place}") } else { "TRUE".to_owned() }
    }

    /// Id of the mark's key; zero without a mark.
    fn id(&self) -> i64 {
        self.mark.map_or(0, |mark| mark.id.0)
    }

    /// Last use of the mark's key.
    fn used_at(&self) -> Option<DateTime<Utc>> {
        match self.mark?.place {
            SortValue::LastUsed(at) => at,
            _ => None,
        }
    }

    /// SQL of a tenant's keys in this stretch, ordered by last use.
    fn of_tenant(&self, tenant: &str, which: &str, limit: &str) -> String {
        let (direction, beyond) =
            (self.direction(), self.beyond("(used_at, api_key_id)", "(coalesce($2, 'epoch'), $3)"));
        format!(
            "SELECT api_key_id AS id, used_at FROM key_uses
             WHERE tenant_id = {tenant} AND NOT is_deleted AND {which} AND {beyond}
             ORDER BY used_at {direction}, api_key_id {direction} LIMIT {limit}"
        )
    }

    /// Runs a query for places in the list, with the parameters that the parts above use.
    fn load(
        &self,
        conn: &mut PgConnection,
        found: &str,
        unused_since: Option<DateTime<Utc>>,
        tenant: i64,
        rare: Option<&Rare>,
    ) -> Result<Vec<KeyMark>> {
        let direction = self.direction();
        let query = diesel::sql_query(format!(
            "SELECT id, nullif(used_at, 'epoch') AS at FROM ({found}) found ORDER BY used_at {direction}, id {direction}"
        ));
        let query = query
            .bind::<Nullable<Timestamptz>, _>(unused_since)
            .bind::<Nullable<Timestamptz>, _>(self.used_at())
            .bind::<BigInt, _>(self.id())
            .bind::<BigInt, _>(tenant)
            .bind::<BigInt, _>(self.limit)
            .bind::<BigInt, _>(self.offset)
            .bind::<Text, _>(rare.map_or("", |rare| &rare.words))
            .bind::<Text, _>(rare.map_or("", |rare| &rare.terms));
        let found: Vec<Used> = query.load(conn)?;
        Ok(found.into_iter().map(|used| KeyMark { place: SortValue::LastUsed(used.at), id: used.id }).collect())
    }

    /// Direction of the order in SQL.
    fn direction(&self) -> &'static str {
        if self.is_backwards { "ASC" } else { "DESC" }
    }
}

#[derive(QueryableByName)]
struct Used {
    #[diesel(sql_type = BigInt)]
    id: ApiKeyId,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
}

/// SQL condition for keys that were neither created nor used since `$1`.
const UNUSED: &str = "used_at <= $1 AND created_at <= $1";
/// SQL condition for weeks of the index that can hold such keys.
const IN_WEEKS: &str = "idle_week <= date_trunc('week', $1 AT TIME ZONE 'UTC')::date";

/// Lists keys by last use, never used ones last. Across tenants it merges the first keys of each tenant.
pub fn by_use(conn: &mut PgConnection, scope: Scope, stretch: &Stretch<'_>) -> Result<Vec<KeyMark>> {
    let direction = stretch.direction();
    let (found, tenant) = match scope {
        Scope::Tenant(tenant) => (stretch.of_tenant("$4", "TRUE", "$5 OFFSET $6"), tenant.0),
        Scope::Instance => {
            let all = stretch.of_tenant("tenants.id", "TRUE", "$5 + $6");
            let order = format!("ORDER BY used_at {direction}, id {direction} LIMIT $5 OFFSET $6");
            (format!("SELECT of_it.* FROM tenants CROSS JOIN LATERAL ({all}) of_it {order}"), 0)
        }
    };
    stretch.load(conn, &found, None, tenant, None)
}

/// Lists keys by last use that match a rare condition, and are unused since a time if one is given. They are sorted
/// before their rows are read.
pub fn rare_by_use(
    conn: &mut PgConnection,
    tenant: TenantId,
    rare: &Rare,
    since: Option<DateTime<Utc>>,
    stretch: &Stretch<'_>,
) -> Result<Vec<KeyMark>> {
    let unused = if since.is_some() { UNUSED } else { "TRUE" };
    let which = format!("{unused} AND {}", rare.of_uses("$7", "$8"));
    stretch.load(conn, &stretch.of_tenant("$4", &which, "$5 OFFSET $6"), since, tenant.0, Some(rare))
}

/// Lists keys unused since a time by last use: first those that were ever used, then the others.
pub fn unused_by_use(
    conn: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
    stretch: &Stretch<'_>,
) -> Result<Vec<KeyMark>> {
    let is_never = |mark: &KeyMark| mark.place == SortValue::LastUsed(None);
    let wanted = stretch.limit + stretch.offset;
    let mut all = Vec::new();
    for of_never in [stretch.is_backwards, !stretch.is_backwards] {
        let is_second = of_never != stretch.is_backwards;
        let mark = stretch.mark.filter(|mark| is_never(mark) == of_never);
        let left = wanted - i64::try_from(all.len()).unwrap_or(wanted);
        // A mark in the second part lies behind all rows of the first part.
        if left == 0 || (!is_second && mark.is_none() && stretch.mark.is_some()) {
            continue;
        }
        let part = Stretch { mark, limit: left, offset: 0, ..*stretch };
        if of_never {
            let never = unused_of_weeks(conn, tenant, since, &part, "used_at = 'epoch'")?;
            all.extend(never.into_iter().map(|id| KeyMark { place: SortValue::LastUsed(None), id }));
        } else {
            let used = part.of_tenant("$4", &format!("used_at > 'epoch' AND {UNUSED}"), "$5 OFFSET $6");
            all.extend(part.load(conn, &used, Some(since), tenant.0, None)?);
        }
    }
    Ok(all.into_iter().skip(usize::try_from(stretch.offset).unwrap_or_default()).collect())
}

/// Lists keys unused since a time, newest first.
pub fn unused_by_age(
    conn: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
    stretch: &Stretch<'_>,
) -> Result<Vec<KeyMark>> {
    let found = unused_of_weeks(conn, tenant, since, stretch, "TRUE")?;
    Ok(found.into_iter().map(|id| KeyMark { place: SortValue::Newest, id }).collect())
}

/// Lists keys unused since a time by id. By id alone, all of them may lie behind every other key. So an index finds
/// the first ones of each week, and these are merged.
fn unused_of_weeks(
    conn: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
    stretch: &Stretch<'_>,
    which: &str,
) -> Result<Vec<ApiKeyId>> {
    let direction = stretch.direction();
    let beyond = stretch.beyond("api_key_id", "$3");
    let of_tenant = format!("FROM key_uses WHERE tenant_id = $2 AND NOT is_deleted AND {which}");
    let query = diesel::sql_query(format!(
        "WITH RECURSIVE weeks (week) AS (
             (SELECT idle_week {of_tenant} AND {IN_WEEKS} ORDER BY idle_week DESC LIMIT 1)
             UNION ALL
             SELECT before.idle_week FROM weeks CROSS JOIN LATERAL (
                 SELECT idle_week {of_tenant} AND idle_week < week ORDER BY idle_week DESC LIMIT 1) before
         )
         SELECT id, NULL::timestamptz AS at FROM weeks CROSS JOIN LATERAL (
             SELECT api_key_id AS id {of_tenant} AND idle_week = week AND {beyond} AND {UNUSED}
             ORDER BY api_key_id {direction} LIMIT $4 + $5) of_week
         ORDER BY id {direction} LIMIT $4 OFFSET $5"
    ))
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(tenant)
    .bind::<BigInt, _>(stretch.id())
    .bind::<BigInt, _>(stretch.limit)
    .bind::<BigInt, _>(stretch.offset);
    let found: Vec<Used> = query.load(conn)?;
    Ok(found.into_iter().map(|used| used.id).collect())
}

/// Returns the keys unused since a time, if they are at most `most`.
pub fn unused_if_few(
    conn: &mut PgConnection,
    tenant: TenantId,
    since: DateTime<Utc>,
    most: i64,
) -> Result<Option<Vec<ApiKeyId>>> {
    let query = diesel::sql_query(format!(
        "SELECT api_key_id AS id, NULL::timestamptz AS at FROM key_uses
         WHERE tenant_id = $2 AND NOT is_deleted AND {IN_WEEKS} AND {UNUSED}
         LIMIT $3 + 1"
    ))
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(tenant)
    .bind::<BigInt, _>(most);
    let found: Vec<Used> = query.load(conn)?;
    let is_few = i64::try_from(found.len()).is_ok_and(|count| count <= most);
    Ok(is_few.then(|| found.into_iter().map(|used| used.id).collect()))
}

/// Counts the keys unused since a time.
pub fn count_unused(conn: &mut PgConnection, tenant: TenantId, since: DateTime<Utc>) -> Result<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let query = diesel::sql_query(format!(
        "SELECT count(*) AS count FROM key_uses
         WHERE tenant_id = $2 AND NOT is_deleted AND {IN_WEEKS} AND {UNUSED}"
    ));
    let count: Count = query.bind::<Timestamptz, _>(since).bind::<BigInt, _>(tenant).get_result(conn)?;
    Ok(count.count)
}

//! Queries on `key_limits`: limits and quotas that a lineage of keys shares, and leases on a quota.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Timestamptz};

use crate::domain::limit::named::{self, NamedLimit};
use crate::domain::quota::{Quota, QuotaState, Refill};
use crate::domain::{LineageId, Result, TenantId};
use crate::schema::key_limits;

/// Quota of a lineage, as stored.
#[derive(Debug, Clone, Copy, HasQuery)]
#[diesel(table_name = key_limits)]
pub struct StoredQuota {
    quota: Option<i64>,
    refill: Option<Refill>,
    remaining: Option<i64>,
    refills_at: Option<DateTime<Utc>>,
}

impl StoredQuota {
    /// Returns the quota as of `now`, refilled if its period is over; `None` without a quota.
    pub fn standing(&self, now: DateTime<Utc>) -> Option<QuotaState> {
        let quota = self.quota?;
        Some(match (self.refill, self.refills_at) {
            (Some(refill), Some(at)) if at <= now => {
                QuotaState { quota, remaining: quota, refills_at: Some(refill.after(now)) }
            }
            _ => QuotaState { quota, remaining: self.remaining.unwrap_or(quota), refills_at: self.refills_at },
        })
    }
}

/// Finds the limits of a lineage.
pub fn find(conn: &mut PgConnection, tenant: TenantId, lineage: LineageId) -> Result<Option<StoredQuota>> {
    let found =
        StoredQuota::query().filter(key_limits::tenant_id.eq(tenant)).filter(key_limits::lineage_id.eq(lineage));
    Ok(found.first(conn).optional()?)
}

/// Sets limits and quota of a lineage. A new amount with the same refill keeps what was used; with another refill the
/// quota starts full.
pub fn put(
    conn: &mut PgConnection,
    tenant: TenantId,
    lineage: LineageId,
    (limits, quota): (&[NamedLimit], Option<Quota>),
    now: DateTime<Utc>,
) -> Result<()> {
    let before = find(conn, tenant, lineage)?;
    let (remaining, refills_at) = match quota {
        None => (None, None),
        Some(quota) => {
            match before.filter(|before| before.refill == quota.refill).and_then(|left| left.standing(now)) {
                Some(standing) => {
                    let remaining = (standing.remaining + quota.quota - standing.quota).clamp(0, quota.quota);
                    (Some(remaining), standing.refills_at)
                }
                None => (Some(quota.quota), quota.refill.map(|refill| refill.after(now))),
            }
        }
    };
    let row = (
        key_limits::limits.eq(named::to_row(limits)),
        key_limits::quota.eq(quota.map(|quota| quota.quota)),
        key_limits::refill.eq(quota.and_then(|quota| quota.refill)),
        key_limits::remaining.eq(remaining),
        key_limits::refills_at.eq(refills_at),
        key_limits::updated_at.eq(now),
    );
    diesel::insert_into(key_limits::table)
        .values((key_limits::tenant_id.eq(tenant), key_limits::lineage_id.eq(lineage), row.clone()))
        .on_conflict(key_limits::lineage_id)
        .do_update()
        .set(row)
        .execute(conn)?;
    Ok(())
}

/// A lease on part of a quota, which a process may spend without another query.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct QuotaLease {
    /// Units that the lease holds; 0 if less is left than was needed.
    #[diesel(sql_type = BigInt)]
    pub taken: i64,
    /// Units left for other leases.
    #[diesel(sql_type = BigInt)]
    pub remaining: i64,
    /// End of the quota's period (UTC); `None` if it never refills.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub refills_at: Option<DateTime<Utc>>,
}

/// Maximum number of units of one lease.
const MOST_LEASED: i64 = 1_000;

/// Leases at least `need` units, and up to a twentieth of what is left. Near the end of a quota, leases shrink to what
/// is needed, so that replicas share the rest. `None` if the lineage has no quota.
pub fn lease(conn: &mut PgConnection, lineage: LineageId, need: i64, now: DateTime<Utc>) -> Result<Option<QuotaLease>> {
    let query = diesel::sql_query(
        "WITH current AS (
             SELECT lineage_id, CASE WHEN refills_at <= $3 THEN quota ELSE remaining END AS available,
                 CASE WHEN refills_at > $3 THEN refills_at
                      WHEN refill = 'daily' THEN date_trunc('day', $3, 'UTC') + INTERVAL '24 hours'
                      WHEN refill = 'monthly' THEN (date_trunc('month', $3 AT TIME ZONE 'UTC') + INTERVAL '1 month') AT TIME ZONE 'UTC'
                 END AS refills_at
             FROM key_limits WHERE lineage_id = $1 AND quota IS NOT NULL FOR UPDATE
         ), asked AS (
             SELECT *, CASE WHEN available < $2 THEN 0 ELSE greatest($2, least(available / 20, $4)) END AS taken FROM current
         )
         UPDATE key_limits q SET remaining = asked.available - asked.taken, refills_at = asked.refills_at
         FROM asked WHERE q.lineage_id = asked.lineage_id
         RETURNING asked.taken, q.remaining, q.refills_at",
    );
    let bound = query
        .bind::<BigInt, _>(lineage)
        .bind::<BigInt, _>(need)
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(MOST_LEASED);
    Ok(bound.get_result(conn).optional()?)
}

/// Returns the unspent units of a lease, unless its period is over.
pub fn give_back(
    conn: &mut PgConnection,
    lineage: LineageId,
    unused: i64,
    refills_at: Option<DateTime<Utc>>,
) -> Result<()> {
    let query = diesel::sql_query(
        "UPDATE key_limits SET remaining = least(quota, remaining + $2)
         WHERE lineage_id = $1 AND quota IS NOT NULL AND refills_at IS NOT DISTINCT FROM $3",
    );
    query
        .bind::<BigInt, _>(lineage)
        .bind::<BigInt, _>(unused)
        .bind::<Nullable<Timestamptz>, _>(refills_at)
        .execute(conn)?;
    Ok(())
}

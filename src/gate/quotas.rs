//! Durable quotas, given out in memory from leases taken in Postgres. Never over the quota; a crash forfeits at most
//! the open leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::lock;
use crate::domain::quota::QuotaState;
use crate::domain::{LineageId, Result};
use crate::store::key_limits::{self, QuotaLease};
use crate::store::{Db, Scope, patience};

/// Time for which an exhausted quota is trusted to stay so, which saves SQL.
const EMPTY_FOR: Duration = Duration::from_secs(1);

/// Leases on quotas that this process holds.
pub struct Quotas {
    db: Db,
    tanks: Mutex<HashMap<LineageId, Arc<LocalQuota>>>,
}

/// Lease of this process on one quota.
#[derive(Default)]
struct LocalQuota {
    level: Mutex<LeaseState>,
    /// Held while one call asks the database. Other calls wait for it and use what it leased.
    filling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct LeaseState {
    /// Units leased by this process and not used yet.
    own: i64,
    /// Units left for other replicas when this process last asked.
    elsewhere: i64,
    /// End of the quota's period (UTC). `None` if it never refills.
    refills_at: Option<DateTime<Utc>>,
    /// Number of units that the database refused last, and when.
    empty: Option<(i64, Instant)>,
}

impl LeaseState {
    /// Returns the state, reset if its period is over. Units of a past period count for nothing.
    fn at(&mut self, now: DateTime<Utc>) -> &mut Self {
        if self.refills_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
        self
    }

    fn is_known_empty(&self, need: i64) -> bool {
        self.empty.is_some_and(|(least, since)| least <= need && since.elapsed() < EMPTY_FOR)
    }

    fn standing(&self, quota: i64) -> QuotaState {
        QuotaState { quota, remaining: self.own + self.elsewhere, refills_at: self.refills_at }
    }
}

/// Units charged to a quota for a call that is not finished. Given back on drop unless used up.
pub struct HeldCharge<'a> {
    quotas: &'a Quotas,
    lineage: LineageId,
    cost: u64,
}

impl HeldCharge<'_> {
    pub fn use_up(mut self) {
        self.cost = 0;
    }
}

impl Drop for HeldCharge<'_> {
    fn drop(&mut self) {
        if 0 < self.cost {
            self.quotas.give_back(self.lineage, self.cost);
        }
    }
}

/// Result of a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeOutcome {
    pub is_allowed: bool,
    pub standing: QuotaState,
}

impl Quotas {
    /// Replaces connections that may be silently dead.
    pub fn renew(&self) {
        self.db.renew();
    }

    pub fn new(db: Db) -> Self {
        Self { db, tanks: Mutex::default() }
    }

    /// Charges `cost`, or with `is_dry_run` only checks it. SQL runs only if the open lease is too small.
    ///
    /// # Errors
    /// `Unavailable` if the database is away and the lease is used up.
    pub async fn ask(
        &self,
        lineage: LineageId,
        quota: i64,
        cost: u64,
        is_dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<ChargeOutcome> {
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        let tank = Arc::clone(lock(&self.tanks).entry(lineage).or_default());
        if let Some(asked) = Self::from_memory(&tank, quota, cost, is_dry_run, now) {
            return Ok(asked);
        }
        let _filling = tank.filling.lock().await;
        // Another call may have extended the lease while this one waited.
        if let Some(asked) = Self::from_memory(&tank, quota, cost, is_dry_run, now) {
            return Ok(asked);
        }
        let need = cost - lock(&tank.level).at(now).own;
        let leased = self.db.tx(Scope::Instance, move |conn| key_limits::lease(conn, lineage, need, now)).await?;
        let Some(leased) = leased else {
            // The quota was removed meanwhile, so nothing limits the call.
            return Ok(ChargeOutcome {
                is_allowed: true,
                standing: QuotaState { quota, remaining: quota, refills_at: None },
            });
        };
        Ok(Self::filled(&tank, leased, need, (quota, cost, is_dry_run)))
    }

    fn from_memory(
        tank: &LocalQuota,
        quota: i64,
        cost: i64,
        is_dry_run: bool,
        now: DateTime<Utc>,
    ) -> Option<ChargeOutcome> {
        let mut level = lock(&tank.level);
        let level = level.at(now);
        let is_allowed = cost <= level.own;
        if !is_allowed && !level.is_known_empty(cost - level.own) {
            return None;
        }
        if is_allowed && !is_dry_run {
            level.own -= cost;
        }
        Some(ChargeOutcome { is_allowed, standing: level.standing(quota) })
    }

    fn filled(
        tank: &LocalQuota,
        leased: QuotaLease,
        need: i64,
        (quota, cost, is_dry_run): (i64, i64, bool),
    ) -> ChargeOutcome {
        let mut level = lock(&tank.level);
        if level.refills_at != leased.refills_at {
            *level = LeaseState { refills_at: leased.refills_at, ..LeaseState::default() };
        }
        level.own += leased.taken;
        level.elsewhere = leased.remaining;
        level.empty = (leased.taken == 0).then(|| (need, Instant::now()));
        let is_allowed = cost <= level.own;
        if is_allowed && !is_dry_run {
            level.own -= cost;
        }
        ChargeOutcome { is_allowed, standing: level.standing(quota) }
    }

    /// Holds the units of a call until it is certain that they are used. Gives them back if the call ends before.
    pub fn hold(&self, lineage: LineageId, cost: u64) -> HeldCharge<'_> {
        HeldCharge { quotas: self, lineage, cost }
    }

    fn give_back(&self, lineage: LineageId, cost: u64) {
        if let Some(tank) = lock(&self.tanks).get(&lineage) {
            lock(&tank.level).own += i64::try_from(cost).unwrap_or(0);
        }
    }

    /// Forgets which quotas are exhausted, since an admin may have raised one.
    pub fn reconsider(&self) {
        for tank in lock(&self.tanks).values() {
            lock(&tank.level).empty = None;
        }
    }

    /// Gives all leases back.
    pub async fn close(&self) {
        let open: Vec<_> = lock(&self.tanks)
            .drain()
            .map(|(lineage, tank)| (lineage, std::mem::take(&mut *lock(&tank.level))))
            .filter(|(_, level)| 0 < level.own)
            .collect();
        if open.is_empty() {
            return;
        }
        let closed = patience::persist(
            &self.db,
            || true,
            move |conn| {
                for (lineage, level) in &open {
                    key_limits::give_back(conn, *lineage, level.own, level.refills_at)?;
                }
                Ok(())
            },
        );
        if let Err(error) = closed.await {
            tracing::warn!(%error, "leases on quotas could not be given back: they are forfeited");
        }
    }
}

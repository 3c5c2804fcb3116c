//! Durable quotas: given out from memory, out of leases taken from Postgres. Never more than there is; a crash
//! forfeits at most the open leases.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::lock;
use crate::domain::quota::QuotaStanding;
use crate::domain::{LineageId, Result};
use crate::store::key_limits::{self, Leased};
use crate::store::{Db, Scope, patience};

/// How long an empty quota is believed to be empty, so that asking for it again costs no SQL.
const EMPTY_FOR: Duration = Duration::from_secs(1);

pub struct Quotas {
    db: Db,
    tanks: Mutex<HashMap<LineageId, Arc<Tank>>>,
}

/// What this process holds of one quota.
#[derive(Default)]
struct Tank {
    level: Mutex<Level>,
    /// Held by whoever asks the database; the others wait, and find what was brought.
    filling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    own: i64,
    /// What was left for others when this process last asked.
    elsewhere: i64,
    refills_at: Option<DateTime<Utc>>,
    /// When the database said that so much is not left.
    empty: Option<(i64, Instant)>,
}

impl Level {
    /// What was leased in a period that is over counts for nothing.
    fn at(&mut self, now: DateTime<Utc>) -> &mut Self {
        if self.refills_at.is_some_and(|at| at <= now) {
            *self = Self::default();
        }
        self
    }

    fn is_known_empty(&self, need: i64) -> bool {
        self.empty.is_some_and(|(least, since)| least <= need && since.elapsed() < EMPTY_FOR)
    }

    fn standing(&self, quota: i64) -> QuotaStanding {
        QuotaStanding { quota, remaining: self.own + self.elsewhere, refills_at: self.refills_at }
    }
}

/// Taken from a quota, and not used yet.
pub struct Taken<'a> {
    quotas: &'a Quotas,
    lineage: LineageId,
    cost: u64,
}

impl Taken<'_> {
    pub fn use_up(mut self) {
        self.cost = 0;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if 0 < self.cost {
            self.quotas.give_back(self.lineage, self.cost);
        }
    }
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub is_allowed: bool,
    pub standing: QuotaStanding,
}

impl Quotas {
    /// Replaces connections that may be silently dead.
    pub fn renew(&self) {
        self.db.renew();
    }

    pub fn new(db: Db) -> Self {
        Self { db, tanks: Mutex::default() }
    }

    /// Takes `cost`, or with `is_dry_run` only looks whether it is there. SQL runs where the open lease does not
    /// hold it.
    ///
    /// # Errors
    /// `Unavailable` where the database is away and the lease is used up.
    pub async fn ask(
        &self,
        lineage: LineageId,
        quota: i64,
        cost: u64,
        is_dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Asked> {
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        let tank = Arc::clone(lock(&self.tanks).entry(lineage).or_default());
        if let Some(asked) = Self::from_memory(&tank, quota, cost, is_dry_run, now) {
            return Ok(asked);
        }
        let _filling = tank.filling.lock().await;
        if let Some(asked) = Self::from_memory(&tank, quota, cost, is_dry_run, now) {
            return Ok(asked);
        }
        let need = cost - lock(&tank.level).at(now).own;
        let leased = self.db.tx(Scope::Instance, move |conn| key_limits::lease(conn, lineage, need, now)).await?;
        let Some(leased) = leased else {
            // It has just been taken away.
            return Ok(Asked {
                is_allowed: true,
                standing: QuotaStanding { quota, remaining: quota, refills_at: None },
            });
        };
        Ok(Self::filled(&tank, leased, need, (quota, cost, is_dry_run)))
    }

    fn from_memory(tank: &Tank, quota: i64, cost: i64, is_dry_run: bool, now: DateTime<Utc>) -> Option<Asked> {
        let mut level = lock(&tank.level);
        let level = level.at(now);
        let is_allowed = cost <= level.own;
        if !is_allowed && !level.is_known_empty(cost - level.own) {
            return None;
        }
        if is_allowed && !is_dry_run {
            level.own -= cost;
        }
        Some(Asked { is_allowed, standing: level.standing(quota) })
    }

    fn filled(tank: &Tank, leased: Leased, need: i64, (quota, cost, is_dry_run): (i64, i64, bool)) -> Asked {
        let mut level = lock(&tank.level);
        if level.refills_at != leased.refills_at {
            *level = Level { refills_at: leased.refills_at, ..Level::default() };
        }
        level.own += leased.taken;
        level.elsewhere = leased.remaining;
        level.empty = (leased.taken == 0).then(|| (need, Instant::now()));
        let is_allowed = cost <= level.own;
        if is_allowed && !is_dry_run {
            level.own -= cost;
        }
        Asked { is_allowed, standing: level.standing(quota) }
    }

    /// What a call has taken, until it is certain that it is used: given back where the call ends before.
    pub fn hold(&self, lineage: LineageId, cost: u64) -> Taken<'_> {
        Taken { quotas: self, lineage, cost }
    }

    fn give_back(&self, lineage: LineageId, cost: u64) {
        if let Some(tank) = lock(&self.tanks).get(&lineage) {
            lock(&tank.level).own += i64::try_from(cost).unwrap_or(0);
        }
    }

    /// What is empty may have been filled by somebody.
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

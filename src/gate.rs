//! Verification of API keys, the hot path: a read from memory for every cached key.

pub mod cache;
pub mod cache_trust;
mod counters;
mod counting;
pub mod credential;
pub mod decision;
pub mod hashing;
pub mod headroom;
pub mod limiter;
pub mod meter;
pub mod quotas;
pub mod secret_verifier;
pub mod shared;
pub mod tokens;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use crate::domain::digest::Hasher;
use crate::domain::limit::LimitState;
use crate::domain::limit::named::Per;
use crate::domain::quota::{Quota, QuotaState};
use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{ApiKeyId, Clock, Result, TenantId};
use crate::model::ApiKey;
use crate::store::notify::Change;
use crate::store::{self, Db, Scope};

pub use credential::Credential;
pub use decision::{Decision, KnownKey, NamedStanding, VerificationRequest};
pub use headroom::NearLimit;

use cache::Cache;
use cache_trust::{CacheTrust, Listening};
use counters::Counters;
use counting::Counting;
use limiter::{LimitSubject, Limiter};
use meter::Meter;
use quotas::Quotas;
use secret_verifier::SecretVerifier;
use shared::Shared;

/// Maximum number of keys in the cache.
const MOST_KEYS: usize = 100_000;
/// Maximum number of tenant names in the cache.
const MOST_TENANTS: usize = 10_000;
/// Prefix of a tenant id used in place of a slug. No slug contains it.
const ID_MARK: char = '#';

/// Outcome of a charge, with the state of the limits and the quota afterwards.
type Taken = (Outcome, Vec<LimitState>, Option<QuotaState>);

/// Verifier of API keys, shared by the whole process.
pub struct Gate {
    keys: Arc<Cache<KnownKey>>,
    /// Tenant ids by the slug or id that requests name.
    tenants: Arc<Cache<TenantId>>,
    counting: Counting,
    quotas: Quotas,
    memory: SecretVerifier,
    meter: Meter,
    counters: Counters,
    hasher: Arc<Hasher>,
    db: Db,
    clock: Clock,
    /// Keys whose digest is being replaced in the background.
    redigesting: Arc<Mutex<HashSet<ApiKeyId>>>,
}

impl Gate {
    /// Builds a gate with its own connection pool, so that no other load can starve verification. Rate limits count in
    /// this process alone, unless `shared` is set.
    pub fn new(db: Db, hasher: Arc<Hasher>, clock: Clock, meter: Meter, shared: Option<Shared>) -> Result<Self> {
        let limiter = Arc::new(Limiter::default());
        let (counts, time) = (Arc::clone(&limiter), clock.clone());
        let load = move |conn: &mut PgConnection, id: &str| load(conn, id, &counts, time.now());
        Ok(Self {
            keys: Arc::new(Cache::new(db.clone(), CacheTrust::default(), MOST_KEYS, load)),
            tenants: Arc::new(Cache::new(db.clone(), CacheTrust::default(), MOST_TENANTS, find_tenant)),
            counting: Counting::new(limiter, shared),
            quotas: Quotas::new(db.apart()),
            memory: SecretVerifier::new()?,
            meter,
            counters: Counters::new(),
            hasher,
            db,
            clock,
            redigesting: Arc::default(),
        })
    }

    /// Decides about a presented key. Only a key that is not cached costs a database read.
    pub async fn decide(&self, ask: &VerificationRequest) -> Result<Decision> {
        let decision = self.decided(ask).await?;
        self.counters.count(decision.outcome);
        Ok(decision)
    }

    async fn decided(&self, ask: &VerificationRequest) -> Result<Decision> {
        let Credential::Pair { public_id, secret } = &ask.credential else {
            return Ok(Decision::refused(ask.credential.refusal()));
        };
        let found = self.keys.find(public_id).await?;
        let stored = found.as_ref().map(|entry| &entry.value.digest);
        let is_right = self.memory.verify(&self.hasher, stored, secret).await?;
        let is_outdated = stored.is_some_and(|stored| self.hasher.is_outdated(stored));
        let Some(entry) = found.filter(|_| is_right) else {
            return Ok(Decision::refused(Outcome::NotFound));
        };
        if !ask.is_about(&entry.value) {
            return Ok(Decision::refused(Outcome::NotFound));
        }
        if is_outdated {
            self.redigest_later(&entry.value.key, secret.to_string());
        }
        let now = self.clock.now();
        let (outcome, missing_scopes) = decision::judge(&entry.value, ask, now);
        let cost = if outcome == Outcome::Valid { ask.cost } else { 0 };
        let (outcome, standings, quota) = self.take(&entry.value, outcome, cost, ask.is_dry_run, now).await?;
        let is_taken = outcome == Outcome::Valid && !ask.is_dry_run;
        let mut decision = Decision {
            outcome,
            reason: None,
            standings: entry.value.named(standings),
            quota,
            quota_wait: quota
                .filter(|quota| i64::try_from(cost).is_ok_and(|cost| cost <= quota.quota))
                .and_then(|quota| quota.refills_at)
                .map(|at| seconds_until(at, now)),
            exceeds_quota: outcome != Outcome::Valid
                && quota.is_some_and(|quota| i64::try_from(cost).map_or(true, |cost| quota.remaining < cost)),
            ends_in: entry.value.key.ends_at().map(|at| seconds_until(at, now)),
            key: Some(entry),
            missing_scopes,
            cost: if is_taken { cost } else { 0 },
        };
        decision.reason = decision.why(ask);
        Ok(decision)
    }

    /// Charges the limits and the quota: all of them or none.
    async fn take(
        &self,
        known: &KnownKey,
        outcome: Outcome,
        cost: u64,
        is_dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Taken> {
        if outcome != Outcome::Valid {
            return Ok((outcome, self.counting.glance(&known.held, now), None));
        }
        if let Some(quota) = known.quota {
            // Boxed to keep the future of calls without a quota small.
            return Box::pin(self.take_with_quota(known, quota, cost, is_dry_run, now)).await;
        }
        let standings = match is_dry_run {
            true => self.counting.look(&known.held, now, cost).await?,
            false => self.counting.take(&known.held, now, cost).await?,
        };
        Ok((limited(&standings), standings, None))
    }

    /// Charges limits and quota. A refusal by either costs the other nothing.
    async fn take_with_quota(
        &self,
        known: &KnownKey,
        quota: Quota,
        cost: u64,
        is_dry_run: bool,
        now: DateTime<Utc>,
    ) -> Result<Taken> {
        let lineage = known.key.lineage_id;
        let look = || self.counting.look(&known.held, now, cost);
        let looked = match is_dry_run || !self.counting.expects(&known.held, now, cost) {
            true => Some(look().await?),
            false => None,
        };
        if let Some(looked) = looked.as_ref().filter(|looked| limited(looked) != Outcome::Valid) {
            // The limits refuse already: without a database, that is all there is to say.
            let asked = self.quotas.ask(lineage, quota.quota, cost, true, now).await.ok();
            let is_possible = looked.iter().all(|standing| standing.is_allowed || standing.retry_after.is_some());
            let outcome = match asked {
                Some(asked) if is_possible && !asked.is_allowed => Outcome::QuotaExceeded,
                _ => Outcome::RateLimited,
            };
            return Ok((outcome, looked.clone(), asked.map(|asked| asked.standing)));
        }
        let asked = self.quotas.ask(lineage, quota.quota, cost, is_dry_run, now).await?;
        if is_dry_run || !asked.is_allowed {
            let outcome = if asked.is_allowed { Outcome::Valid } else { Outcome::QuotaExceeded };
            let looked = match looked {
                Some(looked) => looked,
                None => look().await?,
            };
            return Ok((outcome, looked, Some(asked.standing)));
        }
        // Give the quota back on drop: the caller may disconnect before the limits are charged.
        let of_quota = self.quotas.hold(lineage, cost);
        let taken = self.counting.take(&known.held, now, cost).await?;
        let outcome = limited(&taken);
        if outcome != Outcome::Valid {
            return Ok((outcome, taken, None));
        }
        of_quota.use_up();
        Ok((outcome, taken, Some(asked.standing)))
    }

    /// Loads a key into the cache. A batch prepares all of its keys first, so that it fails before any decision or not
    /// at all.
    pub async fn prepare(&self, credential: &Credential) -> Result<()> {
        if let Credential::Pair { public_id, .. } = credential {
            self.keys.find(public_id).await?;
        }
        Ok(())
    }

    /// Returns the tenant with this slug. Hits and misses are cached until [`Change::Tenant`] arrives.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<TenantId>> {
        Ok(self.tenants.find(slug).await?.map(|entry| entry.value))
    }

    /// Returns the id if a tenant with it exists.
    pub async fn tenant_by_id(&self, id: TenantId) -> Result<Option<TenantId>> {
        Ok(self.tenants.find(&format!("{ID_MARK}{id}")).await?.map(|entry| entry.value))
    }

    /// Returns the current state of a key's limits, its own limit first. Charges nothing.
    pub async fn standings(&self, key: &ApiKey) -> Vec<NamedStanding> {
        let (now, limits) = (self.clock.now(), decision::held(key));
        let held: Vec<LimitSubject> = limits.iter().map(|(_, _, held)| *held).collect();
        // Counts of this process are better for display than an error.
        let looked = self.counting.look(&held, now, 0).await;
        let standings = looked.unwrap_or_else(|_| self.counting.glance(&held, now));
        let named = limits.into_iter().zip(standings);
        named.map(|((name, per, _), standing)| NamedStanding { name, per, standing }).collect()
    }

    /// Fails if calls cannot be counted now, and so would be refused.
    pub fn must_be_able(&self) -> Result<()> {
        self.counting.must_be_able()
    }

    /// Returns true if Redis can be reached, false if not, `None` if limits are not shared.
    pub fn has_shared_limits(&self) -> Option<bool> {
        self.counting.is_shared()
    }

    /// Gives back unused leases on quotas, when the process stops.
    pub async fn close(&self) {
        self.quotas.close().await;
    }

    /// Queues a usage record. Never waits.
    pub fn record(&self, record: UsageRecord) {
        self.meter.record(record);
    }

    /// Stores usage that a client reported. Returns once it is committed.
    pub async fn report(&self, records: Vec<UsageRecord>) -> Result<()> {
        self.meter.report(records).await
    }

    /// Stores reported usage unless `first` returns false in the same transaction, as for a repeated report. Returns
    /// false then.
    pub async fn report_unless(&self, records: Vec<UsageRecord>, first: meter::IsNewReport) -> Result<bool> {
        self.meter.report_unless(records, first).await
    }

    /// Waits until everything recorded so far is in the database.
    pub async fn flush(&self) {
        self.meter.flush().await;
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Returns true if the secret belongs to this key. Counts and charges nothing.
    pub async fn fits(&self, key: &ApiKey, secret: &str) -> Result<bool> {
        self.memory.verify(&self.hasher, Some(&key.stored_digest()), secret).await
    }

    /// Removes whatever a change has made stale.
    pub fn invalidate(&self, change: &Change) {
        match change {
            Change::Key(public_id) => {
                self.keys.forget(public_id);
                self.quotas.reconsider();
            }
            Change::Tenant(tenant) => {
                self.keys.forget_where(|known| known.key.tenant_id == *tenant);
                // Keys of a restored tenant may be cached as unknown.
                self.keys.forget_absent();
                self.tenants.forget_where(|known| known == tenant);
                // A tenant that was just created may be cached as unknown.
                self.tenants.forget_absent();
            }
            Change::Access => self.keys.forget_where(|known| known.key.requires_owner),
            Change::Delivery | Change::DeliveryAt(_) => {}
        }
    }

    /// Passes on the listener's state. While changes do not arrive, each verification reads the database if it
    /// responds.
    pub fn set_listening(&self, listening: Listening) {
        if matches!(listening, Listening::Began) {
            self.db.renew();
            self.quotas.renew();
        }
        self.keys.link().set_listening(listening);
        self.tenants.link().set_listening(listening);
    }

    fn redigest_later(&self, key: &ApiKey, secret: String) {
        if !lock(&self.redigesting).insert(key.id) {
            return;
        }
        let (db, hasher, busy) = (self.db.clone(), Arc::clone(&self.hasher), Arc::clone(&self.redigesting));
        let (id, public_id, old) = (key.id, key.public_id.clone(), key.stored_digest());
        tokio::spawn(async move {
            let secret = zeroize::Zeroizing::new(secret);
            let done = db.tx(Scope::Instance, move |tx| {
                let new = hasher.digest(&secret)?;
                if store::api_keys::update_digest(tx, id, &old, &new)? {
                    tx.announce(Change::Key(public_id));
                }
                Ok(())
            });
            if let Err(error) = done.await {
                tracing::warn!(%error, key = id.0, "a key could not be digested anew: its next use tries again");
            }
            lock(&busy).remove(&id);
        });
    }
}

fn limited(standings: &[LimitState]) -> Outcome {
    if standings.iter().all(|standing| standing.is_allowed) { Outcome::Valid } else { Outcome::RateLimited }
}

/// Loads a key for the cache. Fills its rate limits with usage from before this process knew it.
fn load(conn: &mut PgConnection, public_id: &str, limiter: &Limiter, now: DateTime<Utc>) -> Result<Option<KnownKey>> {
    let Some(row) = store::api_keys::find_for_gate(conn, public_id)? else { return Ok(None) };
    let known = KnownKey::new(row);
    for ((_, per), held) in known.limits.iter().zip(&known.held) {
        if limiter.knows(held.subject) {
            continue;
        }
        let length = i64::try_from(held.limit.window_seconds).unwrap_or(i64::MAX / 1000);
        // Usage is stored by minute: include the whole minute in which the window began.
        let since = now - TimeDelta::seconds(length + 61);
        let used = match (&known.key.owner, per) {
            (Some(owner), Per::Owner) => store::usage::cost_of_owner(conn, known.key.tenant_id, owner, since)?,
            _ => store::usage::cost_by_minute(conn, known.key.tenant_id, known.key.lineage_id, since)?,
        };
        limiter.warm(*held, now, &used)?;
    }
    Ok(Some(known))
}

fn find_tenant(conn: &mut PgConnection, name: &str) -> Result<Option<TenantId>> {
    let found = match name.strip_prefix(ID_MARK).and_then(|id| id.parse().ok()) {
        Some(id) => store::tenants::find(conn, id)?,
        None => store::tenants::find_by_slug(conn, name)?,
    };
    Ok(found.map(|tenant| tenant.id))
}

/// Returns the seconds until a time, rounded up, at least one.
fn seconds_until(at: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    u64::try_from((at - now).num_seconds()).unwrap_or(0) + 1
}

/// Locks a mutex. No invariant spans these locks, so the data is good even after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The hot path of verification: a pure read of memory once a key is known.

pub mod cache;
mod counters;
mod counting;
pub mod credential;
pub mod decision;
pub mod hashing;
pub mod headroom;
pub mod limiter;
pub mod link;
pub mod memory;
pub mod meter;
pub mod quotas;
pub mod shared;
pub mod tokens;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use crate::domain::digest::Hasher;
use crate::domain::limit::Standing;
use crate::domain::limit::named::Per;
use crate::domain::quota::{Quota, QuotaStanding};
use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{ApiKeyId, Clock, LineageId, Result, TenantId};
use crate::model::ApiKey;
use crate::store::notify::Change;
use crate::store::{self, Db, Scope};

pub use credential::Credential;
pub use decision::{Ask, Decision, KnownKey, NamedStanding};
pub use headroom::Near;

use cache::Cache;
use counters::Counters;
use counting::Counting;
use limiter::{Held, Limiter};
use link::{Link, Listening};
use memory::Memory;
use meter::Meter;
use quotas::Quotas;
use shared::Shared;

/// Keys that are kept in memory.
const MOST_KEYS: usize = 100_000;
/// Tenants whose names are kept.
const MOST_TENANTS: usize = 10_000;
/// Before an id, in place of a slug: no slug has it.
const ID_MARK: char = '#';

/// What came of taking from limits and quota, and how those stand now.
type Taken = (Outcome, Vec<Standing>, Option<QuotaStanding>);

/// One for the whole process.
pub struct Gate {
    keys: Arc<Cache<KnownKey>>,
    /// Ids of tenants by what a request calls them.
    tenants: Arc<Cache<TenantId>>,
    counting: Counting,
    quotas: Quotas,
    memory: Memory,
    meter: Meter,
    counters: Counters,
    hasher: Arc<Hasher>,
    db: Db,
    clock: Clock,
    /// Keys whose secret is being digested anew just now.
    redigesting: Arc<Mutex<HashSet<ApiKeyId>>>,
}

impl Gate {
    /// With a pool of its own, so that nothing else can starve verification. Limits are counted in this process alone,
    /// unless they are shared.
    pub fn new(db: Db, hasher: Arc<Hasher>, clock: Clock, meter: Meter, shared: Option<Shared>) -> Result<Self> {
        let limiter = Arc::new(Limiter::default());
        let (counts, time) = (Arc::clone(&limiter), clock.clone());
        let load = move |conn: &mut PgConnection, id: &str| load(conn, id, &counts, time.now());
        Ok(Self {
            keys: Arc::new(Cache::new(db.clone(), Link::default(), MOST_KEYS, load)),
            tenants: Arc::new(Cache::new(db.clone(), Link::default(), MOST_TENANTS, find_tenant)),
            counting: Counting::new(limiter, shared),
            quotas: Quotas::new(db.apart()),
            memory: Memory::new()?,
            meter,
            counters: Counters::new(),
            hasher,
            db,
            clock,
            redigesting: Arc::default(),
        })
    }

    /// Decides about a presented key. Only a key that memory doesn't hold costs a look at the database.
    pub async fn decide(&self, ask: &Ask) -> Result<Decision> {
        let decision = self.decided(ask).await?;
        self.counters.count(decision.outcome);
        Ok(decision)
    }

    async fn decided(&self, ask: &Ask) -> Result<Decision> {
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

    /// From all limits and the quota, or from none of them.
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
            // Apart, so that a call which does not need it stays small.
            return Box::pin(self.take_with_quota(known, quota, cost, is_dry_run, now)).await;
        }
        let standings = match is_dry_run {
            true => self.counting.look(&known.held, now, cost).await?,
            false => self.counting.take(&known.held, now, cost).await?,
        };
        Ok((limited(&standings), standings, None))
    }

    /// A refusal of the limits costs the quota nothing, and the other way round.
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
        // The caller may have gone before the limits are counted.
        let of_quota = self.quotas.hold(lineage, cost);
        let taken = self.counting.take(&known.held, now, cost).await?;
        let outcome = limited(&taken);
        if outcome != Outcome::Valid {
            return Ok((outcome, taken, None));
        }
        of_quota.use_up();
        Ok((outcome, taken, Some(asked.standing)))
    }

    /// Brings a key into memory, so that the decisions of a batch fail before the first of them or not at all.
    pub async fn prepare(&self, credential: &Credential) -> Result<()> {
        if let Credential::Pair { public_id, .. } = credential {
            self.keys.find(public_id).await?;
        }
        Ok(())
    }

    /// The tenant of this slug. Both answers are kept until [`Change::Tenant`] is heard.
    pub async fn tenant_by_slug(&self, slug: &str) -> Result<Option<TenantId>> {
        Ok(self.tenants.find(slug).await?.map(|entry| entry.value))
    }

    /// The same, by id: is there one?
    pub async fn tenant_by_id(&self, id: TenantId) -> Result<Option<TenantId>> {
        Ok(self.tenants.find(&format!("{ID_MARK}{id}")).await?.map(|entry| entry.value))
    }

    /// Where a key stands with its limits just now, the first one first, taking nothing.
    pub async fn standings(&self, key: &ApiKey) -> Vec<NamedStanding> {
        let (now, limits) = (self.clock.now(), decision::held(key));
        let held: Vec<Held> = limits.iter().map(|(_, _, held)| *held).collect();
        // Who only wants to see is better served with what is known than with nothing.
        let looked = self.counting.look(&held, now, 0).await;
        let standings = looked.unwrap_or_else(|_| self.counting.glance(&held, now));
        let named = limits.into_iter().zip(standings);
        named.map(|((name, per, _), standing)| NamedStanding { name, per, standing }).collect()
    }

    /// Refuses where calls with keys can't be counted just now, and so not be answered.
    pub fn must_be_able(&self) -> Result<()> {
        self.counting.must_be_able()
    }

    /// Whether the limits that are shared can be reached; None where none are.
    pub fn has_shared_limits(&self) -> Option<bool> {
        self.counting.is_shared()
    }

    /// Gives back what is leased of quotas, for a stop.
    pub async fn close(&self) {
        self.quotas.close().await;
    }

    /// Keeps a record of usage; never waits.
    pub fn record(&self, record: UsageRecord) {
        self.meter.record(record);
    }

    /// Until these records, which somebody else has made, are in the database.
    pub async fn report(&self, records: Vec<UsageRecord>) -> Result<()> {
        self.meter.report(records).await
    }

    /// The same for a report that may have come before: `first` is asked in its transaction. False where it has.
    pub async fn report_unless(&self, records: Vec<UsageRecord>, first: meter::First) -> Result<bool> {
        self.meter.report_unless(records, first).await
    }

    /// Until everything recorded so far is in the database.
    pub async fn flush(&self) {
        self.meter.flush().await;
    }

    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Forgets one key: call it after the COMMIT that changed it, before answering.
    pub fn forget(&self, public_id: &str) {
        self.keys.forget(public_id);
        self.quotas.reconsider();
    }

    /// Forgets a key and all that were rotated into it or out of it.
    pub fn forget_lineage(&self, lineage: LineageId) {
        self.keys.forget_where(|known| known.key.lineage_id == lineage);
    }

    /// Whether the secret is that key's own. Counts nothing and takes nothing.
    pub async fn fits(&self, key: &ApiKey, secret: &str) -> Result<bool> {
        self.memory.verify(&self.hasher, Some(&key.stored_digest()), secret).await
    }

    /// Forgets what a change has made stale.
    pub fn invalidate(&self, change: &Change) {
        match change {
            Change::Key(public_id) => {
                self.keys.forget(public_id);
                self.quotas.reconsider();
            }
            Change::Tenant(tenant) => {
                self.keys.forget_where(|known| known.key.tenant_id == *tenant);
                // Keys of a tenant that was restored were unknown until now.
                self.keys.forget_absent();
                self.tenants.forget_where(|known| known == tenant);
                // A tenant that was just created may have been asked for before.
                self.tenants.forget_absent();
            }
            Change::Access => self.keys.forget_where(|known| known.key.requires_owner),
            Change::Delivery | Change::DeliveryAt(_) => {}
        }
    }

    /// While changes are not heard, each verification asks the database, where that answers.
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
            let done = db.tx(Scope::Instance, move |conn| {
                let new = hasher.digest(&secret)?;
                if store::api_keys::update_digest(conn, id, &old, &new)? {
                    store::notify::send(conn, &Change::Key(public_id))?;
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

fn limited(standings: &[Standing]) -> Outcome {
    if standings.iter().all(|standing| standing.is_allowed) { Outcome::Valid } else { Outcome::RateLimited }
}

/// Reads a key for the cache, and warms its limit from what was used before this process knew it.
fn load(conn: &mut PgConnection, public_id: &str, limiter: &Limiter, now: DateTime<Utc>) -> Result<Option<KnownKey>> {
    let Some(row) = store::api_keys::find_for_gate(conn, public_id)? else { return Ok(None) };
    let known = KnownKey::new(row);
    for ((_, per), held) in known.limits.iter().zip(&known.held) {
        if limiter.knows(held.subject) {
            continue;
        }
        let length = i64::try_from(held.limit.window_seconds).unwrap_or(i64::MAX / 1000);
        // The window, and the minute that it began in.
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

/// Rounded up, at least one.
fn seconds_until(at: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    u64::try_from((at - now).num_seconds()).unwrap_or(0) + 1
}

/// No invariant spans these locks, so what a panicking thread left behind is good.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Batch of usage to write in one transaction: records, their part of the totals, and last uses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::PgConnection;

use crate::domain::usage::{Outcome, UsageRecord, floor_to, latency_step};
use crate::domain::{AccessTokenId, ApiKeyId, Result, TenantId};
use crate::store;
use crate::store::api_keys::Use;
use crate::store::partitions::{self, USAGE};
use crate::store::usage::write::{self, ALL_KEYS, LatencyKey, Total, TotalKey, Width};

/// Limit on endpoints per tenant and day with their own totals. All others share one total: with ids in paths there would
/// be as many totals as records.
const MOST_ENDPOINTS: usize = 200;
/// Endpoint name of the shared total.
const OTHER: &str = "(other)";

/// Endpoints seen today.
#[derive(Debug, Default)]
pub struct Endpoints {
    day: NaiveDate,
    known: HashMap<TenantId, HashSet<String>>,
}

impl Endpoints {
    /// Returns true if this endpoint has its own totals.
    fn admit(&mut self, record: &UsageRecord) -> bool {
        let day = record.at.date_naive();
        if self.day < day {
            (self.day, self.known) = (day, HashMap::new());
        }
        let known = self.known.entry(record.tenant).or_default();
        known.contains(&*record.endpoint) || (known.len() < MOST_ENDPOINTS && known.insert(record.endpoint.to_string()))
    }
}

/// Day whose partitions are known to exist. Checking takes longer than writing all totals.
#[derive(Debug, Default)]
pub struct Made(Option<(DateTime<Utc>, Instant)>);

impl Made {
    /// Time for which this is trusted, since partitions of past days may be dropped.
    const HOLDS: Duration = Duration::from_secs(600);

    pub fn has(&self, days: &[DateTime<Utc>]) -> bool {
        self.0.is_some_and(|(day, since)| since.elapsed() < Self::HOLDS && days.iter().all(|other| *other == day))
    }

    /// Records that the partitions of these days exist.
    pub fn remember(&mut self, days: &[DateTime<Utc>]) {
        self.0 = days.iter().max().map(|day| (*day, Instant::now()));
    }

    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// Record with its choice of totals.
#[derive(Debug, Clone)]
struct Kept {
    record: UsageRecord,
    has_totals: bool,
}

impl Kept {
    fn endpoint(&self) -> &str {
        if self.has_totals { &self.record.endpoint } else { OTHER }
    }
}

/// Records and last uses that wait to be written.
#[derive(Default, Clone)]
pub struct Batch {
    records: Vec<Kept>,
    tokens: HashMap<AccessTokenId, DateTime<Utc>>,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.tokens.is_empty()
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn push(&mut self, record: UsageRecord, endpoints: &mut Endpoints) {
        let has_totals = endpoints.admit(&record);
        self.records.push(Kept { record, has_totals });
    }

    pub fn truncate(&mut self, length: usize) {
        self.records.truncate(length);
    }

    /// Splits off the uses of tokens, else half of the records. `None` if nothing is left to split.
    pub fn halve(&mut self) -> Option<Self> {
        if !self.records.is_empty() && !self.tokens.is_empty() {
            return Some(Self { records: Vec::new(), tokens: std::mem::take(&mut self.tokens) });
        }
        let half = self.records.len() / 2;
        (0 < half).then(|| Self { records: self.records.split_off(half), tokens: HashMap::new() })
    }

    pub fn token_used(&mut self, id: AccessTokenId, at: DateTime<Utc>) {
        let newest = self.tokens.entry(id).or_insert(at);
        *newest = at.max(*newest);
    }

    /// Writes the batch in `Scope::Instance`. With `makes_days` it first makes missing partitions.
    pub fn write(&self, conn: &mut PgConnection, makes_days: bool) -> Result<()> {
        if !self.records.is_empty() {
            if makes_days {
                partitions::make(conn, &USAGE, &self.days())?;
            }
            write::insert_logs(conn, self.records.iter().map(|kept| &kept.record))?;
            let sums = self.sums();
            for width in [Width::Minute, Width::Hour] {
                write::add_totals(conn, width, &totals(&sums, width))?;
            }
            write::add_latencies(conn, &self.latencies())?;
            store::api_keys::update_last_used(conn, &self.uses())?;
        }
        if !self.tokens.is_empty() {
            let mut tokens: Vec<_> = self.tokens.iter().map(|(id, at)| (*id, *at)).collect();
            tokens.sort_unstable();
            store::access_tokens::update_last_used(conn, &tokens)?;
        }
        Ok(())
    }

    pub fn days(&self) -> Vec<DateTime<Utc>> {
        let days: HashSet<_> = self.records.iter().map(|kept| floor_to(kept.record.at, 86_400)).collect();
        days.into_iter().collect()
    }

    /// Sums records by key and minute. All totals are built from these.
    fn sums(&self) -> HashMap<TotalKey<'_>, Total> {
        let mut sums: HashMap<TotalKey<'_>, Total> = HashMap::new();
        for kept in &self.records {
            let record = &kept.record;
            let key = TotalKey {
                tenant: record.tenant,
                api_key: record.api_key.unwrap_or(ALL_KEYS),
                at: floor_to(record.at, Width::Minute.seconds()),
                endpoint: kept.endpoint(),
                outcome: record.outcome,
                status: record.status,
            };
            let sum = sums.entry(key).or_default();
            sum.total += 1;
            sum.cost += record.cost;
        }
        sums
    }

    fn latencies(&self) -> Vec<(LatencyKey, i64)> {
        let mut of_keys: HashMap<LatencyKey, i64> = HashMap::new();
        for Kept { record, .. } in &self.records {
            let (tenant, api_key) = (record.tenant, record.api_key.unwrap_or(ALL_KEYS));
            let (hour, step) = (floor_to(record.at, Width::Hour.seconds()), latency_step(record.duration_us));
            *of_keys.entry(LatencyKey { tenant, api_key, hour, step }).or_default() += 1;
        }
        let mut counts: HashMap<LatencyKey, i64> = HashMap::new();
        for (key, count) in of_keys {
            for api_key in subjects(key.api_key) {
                *counts.entry(LatencyKey { api_key, ..key }).or_default() += count;
            }
        }
        sorted(counts)
    }

    fn uses(&self) -> Vec<Use> {
        let mut newest: BTreeMap<ApiKeyId, &UsageRecord> = BTreeMap::new();
        let valid = self.records.iter().map(|kept| &kept.record).filter(|record| record.outcome == Outcome::Valid);
        for (id, record) in valid.filter_map(|record| Some((record.api_key?, record))) {
            let known = newest.entry(id).or_insert(record);
            if known.at < record.at {
                *known = record;
            }
        }
        let used =
            |(id, record): (ApiKeyId, &UsageRecord)| Use { id, at: record.at, ip: record.ip.map(|ip| ip.to_string()) };
        newest.into_iter().map(used).collect()
    }
}

/// Returns the keys whose totals a record adds to: its own key, and the total of all keys.
fn subjects(api_key: ApiKeyId) -> impl Iterator<Item = ApiKeyId> {
    Some(api_key).filter(|id| *id != ALL_KEYS).into_iter().chain([ALL_KEYS])
}

fn totals<'a>(sums: &HashMap<TotalKey<'a>, Total>, width: Width) -> Vec<(TotalKey<'a>, Total)> {
    let mut totals: HashMap<TotalKey<'a>, Total> = HashMap::new();
    for (key, sum) in sums {
        for api_key in subjects(key.api_key) {
            let total = totals.entry(TotalKey { api_key, at: floor_to(key.at, width.seconds()), ..*key }).or_default();
            total.total += sum.total;
            total.cost += sum.cost;
        }
    }
    sorted(totals)
}

fn sorted<K: Ord + Hash, V>(map: HashMap<K, V>) -> Vec<(K, V)> {
    let mut rows: Vec<_> = map.into_iter().collect();
    rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(second: i64, outcome: Outcome, status: i16) -> UsageRecord {
        UsageRecord {
            tenant: TenantId(1),
            api_key: Some(ApiKeyId(7)),
            request_id: "r".into(),
            endpoint: "/api/data".into(),
            method: "GET".into(),
            status,
            outcome,
            reason: None,
            duration_us: 10,
            cost: i64::from(outcome == Outcome::Valid),
            ip: None,
            at: DateTime::from_timestamp(1_764_000_000 + second, 0).unwrap(),
            is_reported: false,
        }
    }

    fn batch(records: impl IntoIterator<Item = UsageRecord>) -> Batch {
        let (mut batch, mut endpoints) = (Batch::default(), Endpoints::default());
        records.into_iter().for_each(|record| batch.push(record, &mut endpoints));
        batch
    }

    #[test]
    fn records_of_a_minute_are_summed_for_the_key_and_for_the_tenant() {
        let batch = batch([
            record(0, Outcome::Valid, 200),
            record(59, Outcome::Valid, 200),
            record(30, Outcome::RateLimited, 429),
            record(60, Outcome::RateLimited, 429),
            UsageRecord { api_key: None, ..record(0, Outcome::NotFound, 401) },
        ]);
        let sums = |width, id| -> Vec<_> {
            let rows = totals(&batch.sums(), width).into_iter().filter(|(key, _)| key.api_key == ApiKeyId(id));
            rows.map(|(key, sum)| (key.at.timestamp() % 3600, key.outcome, sum.total, sum.cost)).collect()
        };
        let limited = Outcome::RateLimited;
        assert_eq!(sums(Width::Minute, 7), [(0, Outcome::Valid, 2, 2), (0, limited, 1, 0), (60, limited, 1, 0)]);
        assert_eq!(sums(Width::Hour, 7), [(0, Outcome::Valid, 2, 2), (0, limited, 2, 0)]);
        let of_tenant = [(0, Outcome::Valid, 2, 2), (0, Outcome::NotFound, 1, 0), (0, limited, 2, 0)];
        assert_eq!(sums(Width::Hour, 0), of_tenant);
        let latencies: Vec<_> = batch.latencies().iter().map(|(key, n)| (key.api_key.0, key.step, *n)).collect();
        assert_eq!(latencies, [(0, 6, 5), (7, 6, 4)]);
    }

    #[test]
    fn only_valid_calls_count_as_use() {
        let batch =
            batch([record(0, Outcome::Valid, 200), record(9, Outcome::Valid, 200), record(60, Outcome::Revoked, 401)]);
        let uses = batch.uses();
        assert_eq!((uses.len(), uses[0].at.timestamp()), (1, 1_764_000_009));
    }

    #[test]
    fn past_the_first_two_hundred_endpoints_share_their_totals() {
        let paths = |count: i64| {
            (0..count).map(|n| UsageRecord { endpoint: format!("/{n}").into(), ..record(n, Outcome::Valid, 200) })
        };
        let batch = batch(paths(250).chain(paths(1)));
        let sums = batch.sums();
        let hours = totals(&sums, Width::Hour);
        let of_key: Vec<_> = hours.iter().filter(|(key, _)| key.api_key == ApiKeyId(7)).collect();
        assert_eq!(of_key.len(), 201);
        let total = |name: &str| of_key.iter().find(|(key, _)| key.endpoint == name).map(|(_, sum)| sum.total);
        assert_eq!((total(OTHER), total("/0"), total("/249")), (Some(50), Some(2), None));
    }
}

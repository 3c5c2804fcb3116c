//! Usage on its way to the database: a bounded channel, written in batches off the request path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{AccessTokenId, ApiKeyId, Error, Result};
use crate::store::api_keys::Use;
use crate::store::usage::{MinuteKey, MinuteSum};
use crate::store::{self, Db, Scope};

/// Records that wait; when more come, the newest are dropped and counted.
const MOST_WAITING: usize = 65_536;
const BATCH: usize = 5_000;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often a stop tries a database that does not answer.
const LAST_TRIES: u32 = 3;
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

enum Reading {
    Usage(UsageRecord),
    TokenUsed(AccessTokenId, DateTime<Utc>),
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// The near end of the channel. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    readings: mpsc::Sender<Reading>,
    is_stopping: Arc<AtomicBool>,
}

impl Meter {
    /// Starts the worker on this runtime; it writes every `interval`, and when a batch is full.
    pub fn start(db: Db, interval: Duration) -> Self {
        metrics::describe_counter!(
            "gatepost_usage_dropped_total",
            "Usage records lost because too many waited or the database refused them"
        );
        metrics::describe_counter!("gatepost_usage_written_total", "Usage records written");
        let (readings, receiver) = mpsc::channel(MOST_WAITING);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            db,
            interval,
            receiver,
            batch: Batch::default(),
            is_stopping: Arc::clone(&is_stopping),
            ending: None,
        };
        tokio::spawn(worker.run());
        Self { readings, is_stopping }
    }

    /// Never waits.
    pub fn record(&self, record: UsageRecord) {
        if self.readings.try_send(Reading::Usage(record)).is_err() {
            dropped(1);
        }
    }

    /// Never waits.
    pub fn token_used(&self, id: AccessTokenId, at: DateTime<Utc>) {
        // Losing one only makes `last_used_at` a little older.
        let _ = self.readings.try_send(Reading::TokenUsed(id, at));
    }

    /// Until everything recorded so far is written, or three seconds have passed.
    pub async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.readings.try_send(Reading::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(FLUSH_PATIENCE, is_done).await;
        }
    }

    /// Writes what waits, and ends the worker.
    pub async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        self.is_stopping.store(true, Ordering::Release);
        if self.readings.send(Reading::Stop(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

fn dropped(count: usize) {
    metrics::counter!("gatepost_usage_dropped_total").increment(u64::try_from(count).unwrap_or(0));
}

/// What is written in one transaction.
#[derive(Default, Clone)]
struct Batch {
    records: Vec<UsageRecord>,
    tokens: HashMap<AccessTokenId, DateTime<Utc>>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.tokens.is_empty()
    }

    fn minutes(&self) -> Vec<(MinuteKey, MinuteSum)> {
        let mut sums: BTreeMap<MinuteKey, MinuteSum> = BTreeMap::new();
        for record in &self.records {
            let key = MinuteKey {
                tenant: record.tenant,
                api_key: record.api_key,
                minute: minute_of(record.at),
                endpoint: record.endpoint.clone(),
                outcome: record.outcome,
                status: record.status,
            };
            let sum = sums.entry(key).or_default();
            sum.total += 1;
            sum.cost += record.cost;
        }
        sums.into_iter().collect()
    }

    fn uses(&self) -> Vec<Use> {
        let mut newest: BTreeMap<ApiKeyId, &UsageRecord> = BTreeMap::new();
        for record in self.records.iter().filter(|record| record.outcome == Outcome::Valid) {
            let known = newest.entry(record.api_key).or_insert(record);
            if known.at < record.at {
                *known = record;
            }
        }
        let used =
            |(id, record): (ApiKeyId, &UsageRecord)| Use { id, at: record.at, ip: record.ip.map(|ip| ip.to_string()) };
        newest.into_iter().map(used).collect()
    }

    fn write(&self, conn: &mut PgConnection) -> Result<()> {
        if !self.records.is_empty() {
            store::usage::insert_logs(conn, &self.records)?;
            store::usage::add_to_minutes(conn, &self.minutes())?;
            store::api_keys::update_last_used(conn, &self.uses())?;
        }
        if !self.tokens.is_empty() {
            let mut tokens: Vec<_> = self.tokens.iter().map(|(id, at)| (*id, *at)).collect();
            tokens.sort_unstable();
            store::access_tokens::update_last_used(conn, &tokens)?;
        }
        Ok(())
    }
}

fn minute_of(at: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = at.timestamp();
    DateTime::from_timestamp(seconds - seconds.rem_euclid(60), 0).unwrap_or(at)
}

/// What ends a wait for more.
enum Until {
    Full,
    Asked(oneshot::Sender<()>),
    Stopped,
}

struct Worker {
    db: Db,
    interval: Duration,
    receiver: mpsc::Receiver<Reading>,
    batch: Batch,
    is_stopping: Arc<AtomicBool>,
    /// Who waits for the end.
    ending: Option<oneshot::Sender<()>>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let until = self.collect().await;
            let is_written = self.write_until_done().await;
            match until {
                Until::Full if is_written => {}
                Until::Asked(done) if is_written => drop(done.send(())),
                _ => break,
            }
        }
        self.drain();
        if !self.write_until_done().await {
            dropped(self.batch.records.len());
        }
        self.ending.map(|done| done.send(()));
    }

    /// Waits for the first reading, then for more until the interval is over or the batch is full.
    async fn collect(&mut self) -> Until {
        let mut deadline = None;
        while self.batch.records.len() < BATCH {
            let next = match deadline {
                None => Ok(self.receiver.recv().await),
                Some(at) => timeout_at(at, self.receiver.recv()).await,
            };
            match next {
                Err(_) => break,
                Ok(None) => return Until::Stopped,
                Ok(Some(Reading::Flush(done))) => return Until::Asked(done),
                Ok(Some(Reading::Stop(done))) => {
                    self.ending = Some(done);
                    return Until::Stopped;
                }
                Ok(Some(reading)) => self.keep(reading),
            }
            deadline.get_or_insert_with(|| Instant::now() + self.interval);
        }
        Until::Full
    }

    /// Takes what still waits at the end.
    fn drain(&mut self) {
        self.receiver.close();
        while let Ok(reading) = self.receiver.try_recv() {
            self.keep(reading);
        }
    }

    fn keep(&mut self, reading: Reading) {
        match reading {
            Reading::Usage(record) => self.batch.records.push(record),
            Reading::TokenUsed(id, at) => {
                let newest = self.batch.tokens.entry(id).or_insert(at);
                *newest = at.max(*newest);
            }
            Reading::Flush(done) => drop(done),
            Reading::Stop(done) => self.ending = Some(done),
        }
    }

    /// Tries again while the database is away; meanwhile the channel fills, and what does not fit is counted as
    /// dropped. False only where the end came first.
    async fn write_until_done(&mut self) -> bool {
        let mut tried = 0;
        while !self.batch.is_empty() {
            let batch = Arc::new(std::mem::take(&mut self.batch));
            let (copy, count) = (Arc::clone(&batch), batch.records.len());
            match self.db.tx(Scope::Instance, move |conn| copy.write(conn)).await {
                Ok(()) => {
                    metrics::counter!("gatepost_usage_written_total").increment(u64::try_from(count).unwrap_or(0));
                    return true;
                }
                Err(Error::Unavailable(_)) => self.batch = Arc::unwrap_or_clone(batch),
                Err(error) => {
                    // It would fail again and again and hold up all that come after it.
                    dropped(count);
                    tracing::error!(cause = ?error, count, "usage records were refused by the database");
                    return true;
                }
            }
            tried += 1;
            if LAST_TRIES <= tried && self.is_stopping.load(Ordering::Acquire) {
                return false;
            }
            sleep(PAUSE_AFTER_FAILURE).await;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TenantId;

    fn record(second: i64, outcome: Outcome, status: i16) -> UsageRecord {
        UsageRecord {
            tenant: TenantId(1),
            api_key: ApiKeyId(7),
            request_id: "r".into(),
            endpoint: "/api/data".into(),
            method: "GET".into(),
            status,
            outcome,
            duration_us: 10,
            cost: i64::from(outcome == Outcome::Valid),
            ip: None,
            at: DateTime::from_timestamp(1_764_000_000 + second, 0).unwrap(),
        }
    }

    #[test]
    fn records_of_a_minute_are_summed_and_only_good_ones_count_as_use() {
        let records = vec![
            record(0, Outcome::Valid, 200),
            record(59, Outcome::Valid, 200),
            record(30, Outcome::RateLimited, 429),
            record(60, Outcome::RateLimited, 429),
        ];
        let batch = Batch { records, tokens: HashMap::new() };
        let sums: Vec<_> = batch
            .minutes()
            .into_iter()
            .map(|(key, sum)| (key.minute.timestamp() % 3600, sum.total, sum.cost))
            .collect();
        assert_eq!(sums, [(0, 2, 2), (0, 1, 0), (60, 1, 0)]);
        let uses = batch.uses();
        assert_eq!((uses.len(), uses[0].at.timestamp()), (1, 1_764_000_059));
    }
}

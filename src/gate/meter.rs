//! Usage on its way to the database: a bounded channel, written in batches off the request path.

mod batch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::domain::usage::UsageRecord;
use crate::domain::{AccessTokenId, Error, Result};
use crate::store::{Db, Scope};
use batch::{Batch, Endpoints};

/// Records that wait; when more come, the newest are dropped and counted.
const MOST_WAITING: usize = 65_536;
const BATCH: usize = 5_000;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// How often a stop tries a database that does not answer.
const LAST_TRIES: u32 = 3;
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);
/// How long somebody who reports usage waits for room, and then for its COMMIT.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

enum Reading {
    Usage(UsageRecord),
    /// Told of once they are in the database.
    Report(Vec<UsageRecord>, oneshot::Sender<bool>),
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
            reports: Vec::new(),
            endpoints: Endpoints::default(),
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

    /// Until these records are in the database.
    ///
    /// # Errors
    /// `Unavailable` where the database is away, or does not keep up.
    pub async fn report(&self, records: Vec<UsageRecord>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        let sent = timeout(REPORT_PATIENCE, self.readings.send(Reading::Report(records, done))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(Error::unavailable("too much usage waits to be written"));
        }
        match timeout(REPORT_PATIENCE, is_done).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Error::unavailable("the usage could not be written in time")),
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
    /// What was reported, and who waits for it to be written.
    reports: Vec<(Vec<UsageRecord>, oneshot::Sender<bool>)>,
    /// Those that have totals of their own today.
    endpoints: Endpoints,
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
            dropped(self.batch.len());
        }
        self.ending.map(|done| done.send(()));
    }

    /// Waits for the first reading, then for more until the interval is over or the batch is full.
    async fn collect(&mut self) -> Until {
        let mut deadline = None;
        while self.batch.len() < BATCH {
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
                Ok(Some(reading @ Reading::Report(..))) => {
                    self.keep(reading);
                    return Until::Full;
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
            Reading::Usage(record) => self.batch.push(record, &mut self.endpoints),
            Reading::Report(records, done) => self.reports.push((records, done)),
            Reading::TokenUsed(id, at) => self.batch.token_used(id, at),
            Reading::Flush(done) => drop(done),
            Reading::Stop(done) => self.ending = Some(done),
        }
    }

    /// Tries again while the database is away; meanwhile the channel fills, and what does not fit is counted as
    /// dropped. False only where the end came first.
    async fn write_until_done(&mut self) -> bool {
        let mut tried = 0;
        while !self.batch.is_empty() || !self.reports.is_empty() {
            if self.write().await {
                return true;
            }
            tried += 1;
            if LAST_TRIES <= tried && self.is_stopping.load(Ordering::Acquire) {
                return false;
            }
            sleep(PAUSE_AFTER_FAILURE).await;
        }
        true
    }

    /// False where it is to be tried again. Reports are not: whoever sent them is told, and sends them again.
    async fn write(&mut self) -> bool {
        let own = self.batch.len();
        let mut batch = std::mem::take(&mut self.batch);
        let mut told = Vec::new();
        for (records, done) in self.reports.drain(..) {
            records.into_iter().for_each(|record| batch.push(record, &mut self.endpoints));
            told.push(done);
        }
        let count = batch.len();
        let batch = Arc::new(batch);
        let copy = Arc::clone(&batch);
        let written = self.db.tx(Scope::Instance, move |conn| copy.write(conn)).await;
        let is_done = match &written {
            Ok(()) => {
                metrics::counter!("gatepost_usage_written_total").increment(u64::try_from(count).unwrap_or(0));
                true
            }
            Err(Error::Unavailable(_)) => {
                self.batch = Arc::unwrap_or_clone(batch);
                self.batch.truncate(own);
                false
            }
            Err(error) => {
                // It would fail again and again and hold up all that come after it.
                dropped(own);
                tracing::error!(cause = ?error, count, "usage records were refused by the database");
                true
            }
        };
        for done in told {
            // Whoever waited may have gone.
            let _ = done.send(written.is_ok());
        }
        is_done
    }
}

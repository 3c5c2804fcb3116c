//! Usage metering: records are buffered in memory and written in batches, off the request path.

mod batch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::lock;
use crate::domain::usage::UsageRecord;
use crate::domain::{AccessTokenId, Error, Result};
use crate::store::{Db, Scope, Tx};
use batch::{Batch, Endpoints, Made};

/// Maximum number of records that wait. Beyond this, new records are dropped and counted.
const MOST_WAITING: usize = 65_536;
const BATCH: usize = 5_000;
/// Maximum number of reports that wait. Their senders wait for room.
const MOST_REPORTS: usize = 256;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);
/// Attempts of a stop to write while the database accepts no writes.
const LAST_TRIES: u32 = 10;
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);
/// Time that the sender of a report waits for room, and then again for the COMMIT.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// Check in the transaction that would write a report. Returns false if the report was already written.
pub type IsNewReport = Box<dyn FnOnce(&mut Tx<'_>) -> Result<bool> + Send>;

/// Report that may be a repetition.
struct GuardedReport {
    records: Vec<UsageRecord>,
    first: IsNewReport,
    done: oneshot::Sender<Result<bool>>,
}

/// Order to the worker with a caller that waits for it.
enum MeterOrder {
    /// Writes a report. The sender learns whether it is in the database.
    Report(Vec<UsageRecord>, oneshot::Sender<bool>),
    GuardedReport(GuardedReport),
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// Buffer for records without a waiting caller. Adding to it wakes no task: that would cost more than the rest of a
/// verification.
#[derive(Default)]
struct Waiting {
    records: Vec<UsageRecord>,
    tokens: HashMap<AccessTokenId, DateTime<Utc>>,
    is_closed: bool,
}

/// Sending side of the meter. Cheap to clone.
#[derive(Clone)]
pub struct Meter {
    waiting: Arc<Mutex<Waiting>>,
    /// Signalled when a whole batch waits.
    is_full: Arc<Notify>,
    wishes: mpsc::Sender<MeterOrder>,
    is_stopping: Arc<AtomicBool>,
}

impl Meter {
    /// Starts the worker on this runtime. It writes every `interval`, and when a batch is full.
    pub fn start(db: Db, interval: Duration) -> Self {
        metrics::describe_counter!(
            "gatepost_usage_dropped_total",
            "Usage records lost: too many waited, the database refused them, or it took no writes until the stop"
        );
        metrics::describe_counter!("gatepost_usage_written_total", "Usage records written");
        // Register the counters at zero, so that monitoring sees the first increment.
        dropped(0);
        written(0);
        let (wishes, receiver) = mpsc::channel(MOST_REPORTS);
        let (waiting, is_full, is_stopping) = (Arc::default(), Arc::default(), Arc::default());
        let meter = Self { waiting, is_full, wishes, is_stopping };
        let worker = Worker {
            db,
            interval,
            wishes: receiver,
            waiting: Arc::clone(&meter.waiting),
            is_full: Arc::clone(&meter.is_full),
            batch: Batch::default(),
            parts: Vec::new(),
            reports: Vec::new(),
            guarded: Vec::new(),
            endpoints: Endpoints::default(),
            made: Made::default(),
            is_stopping: Arc::clone(&meter.is_stopping),
        };
        tokio::spawn(worker.run());
        meter
    }

    /// Queues a record. Never waits.
    pub fn record(&self, record: UsageRecord) {
        let mut waiting = lock(&self.waiting);
        if waiting.is_closed || MOST_WAITING <= waiting.records.len() {
            drop(waiting);
            return dropped(1);
        }
        waiting.records.push(record);
        let count = waiting.records.len();
        drop(waiting);
        if count == BATCH {
            self.is_full.notify_one();
        }
    }

    /// Stores records. Returns once they are committed.
    ///
    /// # Errors
    /// `Unavailable` if the database is away or does not keep up.
    pub async fn report(&self, records: Vec<UsageRecord>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        let sent = timeout(REPORT_PATIENCE, self.wishes.send(MeterOrder::Report(records, done))).await;
        if !matches!(sent, Ok(Ok(()))) {
            return Err(Error::unavailable("too much usage waits to be written"));
        }
        match timeout(REPORT_PATIENCE, is_done).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(Error::unavailable("the usage could not be written in time")),
        }
    }

    /// Stores a report unless `first` returns false in its transaction, as for a repeated report. Returns false then.
    pub async fn report_unless(&self, records: Vec<UsageRecord>, first: IsNewReport) -> Result<bool> {
        let (done, is_done) = oneshot::channel();
        let wish = MeterOrder::GuardedReport(GuardedReport { records, first, done });
        if !matches!(timeout(REPORT_PATIENCE, self.wishes.send(wish)).await, Ok(Ok(()))) {
            return Err(Error::unavailable("too much usage waits to be written"));
        }
        match timeout(REPORT_PATIENCE, is_done).await {
            Ok(Ok(written)) => written,
            _ => Err(Error::unavailable("the usage could not be written in time")),
        }
    }

    /// Records the use of an access token. Never waits.
    pub fn token_used(&self, id: AccessTokenId, at: DateTime<Utc>) {
        lock(&self.waiting).tokens.entry(id).and_modify(|newest| *newest = at.max(*newest)).or_insert(at);
    }

    /// Waits until everything recorded so far is written, at most three seconds.
    pub async fn flush(&self) {
        let (done, is_done) = oneshot::channel();
        if self.wishes.send(MeterOrder::Flush(done)).await.is_ok() {
            let _ = timeout(FLUSH_PATIENCE, is_done).await;
        }
    }

    /// Writes everything that waits, and ends the worker.
    pub async fn stop(&self) {
        let (done, is_done) = oneshot::channel();
        self.is_stopping.store(true, Ordering::Release);
        if self.wishes.send(MeterOrder::Stop(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

fn written(count: usize) {
    metrics::counter!("gatepost_usage_written_total").increment(u64::try_from(count).unwrap_or(0));
}

fn dropped(count: usize) {
    metrics::counter!("gatepost_usage_dropped_total").increment(u64::try_from(count).unwrap_or(0));
}

/// Callers to inform once everything that waits is written.
#[derive(Default)]
struct Turn {
    flushed: Vec<oneshot::Sender<()>>,
    /// True if no further orders can come.
    is_last: bool,
    /// Caller that waits for the worker to end.
    ending: Option<oneshot::Sender<()>>,
}

struct Worker {
    db: Db,
    interval: Duration,
    wishes: mpsc::Receiver<MeterOrder>,
    waiting: Arc<Mutex<Waiting>>,
    is_full: Arc<Notify>,
    batch: Batch,
    /// Rest of a batch that the database refused, written apart from [`Self::batch`].
    parts: Vec<Batch>,
    /// Reports with the channels of their senders.
    reports: Vec<(Vec<UsageRecord>, oneshot::Sender<bool>)>,
    guarded: Vec<GuardedReport>,
    /// Endpoints that have their own totals today.
    endpoints: Endpoints,
    made: Made,
    is_stopping: Arc<AtomicBool>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let turn = self.wait().await;
            self.write_guarded().await;
            if self.write_all(turn.is_last).await {
                for done in turn.flushed.into_iter().chain(turn.ending) {
                    // The caller may have gone.
                    let _ = done.send(());
                }
            }
            if turn.is_last {
                return;
            }
        }
    }

    /// Waits until the interval is over, a whole batch waits, or an order comes.
    async fn wait(&mut self) -> Turn {
        let (mut turn, deadline) = (Turn::default(), Instant::now() + self.interval);
        let mut next = tokio::select! {
            wish = self.wishes.recv() => {
                // A closed channel means that no sender is left.
                turn.is_last = wish.is_none();
                wish
            }
            () = self.is_full.notified() => None,
            () = sleep_until(deadline) => None,
        };
        while let Some(wish) = next.or_else(|| self.wishes.try_recv().ok()) {
            next = None;
            match wish {
                MeterOrder::Report(records, done) => self.reports.push((records, done)),
                MeterOrder::GuardedReport(report) => self.guarded.push(report),
                MeterOrder::Flush(done) => turn.flushed.push(done),
                MeterOrder::Stop(done) => (turn.is_last, turn.ending) = (true, Some(done)),
            }
        }
        turn
    }

    /// Writes guarded reports, each in its own transaction and without retries: a failed sender sends it again.
    async fn write_guarded(&mut self) {
        for GuardedReport { records, first, done } in std::mem::take(&mut self.guarded) {
            if done.is_closed() {
                continue;
            }
            let mut batch = Batch::default();
            records.into_iter().for_each(|record| batch.push(record, &mut self.endpoints));
            let count = batch.len();
            let write = move |tx: &mut Tx<'_>| {
                let is_new = first(tx)?;
                if is_new {
                    batch.write(tx, true)?;
                }
                Ok(is_new)
            };
            let is_new = self.db.tx(Scope::Instance, write).await;
            if matches!(is_new, Ok(true)) {
                written(count);
            }
            // The caller may have gone.
            let _ = done.send(is_new);
        }
    }

    /// Writes everything that waits, batch by batch. Returns false if the stop gave up first.
    async fn write_all(&mut self, is_last: bool) -> bool {
        if is_last {
            self.wishes.close();
        }
        loop {
            let is_all = self.take(is_last);
            if !self.write_until_done().await {
                let waiting = lock(&self.waiting).records.len();
                dropped(self.batch.len() + self.parts.iter().map(Batch::len).sum::<usize>() + waiting);
                return false;
            }
            if is_all {
                return true;
            }
        }
    }

    /// Takes the next batch. Returns true if nothing is left.
    fn take(&mut self, is_last: bool) -> bool {
        let mut waiting = lock(&self.waiting);
        waiting.is_closed = is_last;
        let taken = match waiting.records.len() {
            // About as many records will come until the next time, so keep the capacity.
            count if count <= BATCH => std::mem::replace(&mut waiting.records, Vec::with_capacity(count)),
            _ => {
                let rest = waiting.records.split_off(BATCH);
                std::mem::replace(&mut waiting.records, rest)
            }
        };
        let (tokens, is_all) = (std::mem::take(&mut waiting.tokens), waiting.records.is_empty());
        drop(waiting);
        taken.into_iter().for_each(|record| self.batch.push(record, &mut self.endpoints));
        tokens.into_iter().for_each(|(id, at)| self.batch.token_used(id, at));
        is_all
    }

    /// Retries while the database accepts no writes. Meanwhile records beyond [`MOST_WAITING`] are dropped and
    /// counted. Returns false if the stop gave up first.
    async fn write_until_done(&mut self) -> bool {
        let mut tried = 0;
        loop {
            if self.batch.is_empty() {
                self.batch = self.parts.pop().unwrap_or_default();
            }
            if self.batch.is_empty() && self.reports.is_empty() {
                return true;
            }
            if self.write().await {
                continue;
            }
            tried += 1;
            if LAST_TRIES <= tried && self.is_stopping.load(Ordering::Acquire) {
                return false;
            }
            sleep(PAUSE_AFTER_FAILURE).await;
        }
    }

    /// Writes the batch and the reports in one transaction. Returns false, and keeps the batch, if the database
    /// accepts no writes. Reports are tried once: their senders learn of a failure and send them again.
    async fn write(&mut self) -> bool {
        let own = self.batch.len();
        let mut batch = std::mem::take(&mut self.batch);
        let mut told = Vec::new();
        // A sender that has gone was told of a failure.
        for (records, done) in self.reports.drain(..).filter(|(_, done)| !done.is_closed()) {
            records.into_iter().for_each(|record| batch.push(record, &mut self.endpoints));
            told.push(done);
        }
        let (count, days) = (batch.len(), batch.days());
        let makes_days = !self.made.has(&days);
        let batch = Arc::new(batch);
        let copy = Arc::clone(&batch);
        let outcome = self.db.tx(Scope::Instance, move |conn| copy.write(conn, makes_days)).await;
        let is_ok = outcome.is_ok();
        let is_done = match outcome {
            Ok(()) => {
                if makes_days {
                    self.made.remember(&days);
                }
                written(count);
                true
            }
            Err(error) => {
                self.made.forget();
                self.batch = Arc::unwrap_or_clone(batch);
                self.batch.truncate(own);
                let is_outage = matches!(error, Error::Unavailable(_));
                // The day's partition may have been dropped, or a report may be at fault: try again first.
                if !is_outage && makes_days && told.is_empty() {
                    self.divide(&error);
                }
                !is_outage
            }
        };
        for done in told {
            // The sender may have gone.
            let _ = done.send(is_ok);
        }
        is_done
    }

    /// Halves a batch that the database refused, until the refused record is alone and can be dropped. Otherwise it
    /// would hold up all later records.
    fn divide(&mut self, error: &Error) {
        if let Some(rest) = self.batch.halve() {
            return self.parts.push(rest);
        }
        dropped(self.batch.len());
        tracing::error!(cause = ?error, "the database refused a usage record");
        self.batch = Batch::default();
    }
}

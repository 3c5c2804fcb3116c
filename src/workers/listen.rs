//! Listener for changes made by other replicas, on a thread and a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use diesel::pg::PgConnection;

use crate::domain::{Clock, Error, Result, clock};
use crate::gate::cache_trust::Listening;
use crate::store::notify::{self, Change};
use crate::store::{Db, server_clock};

/// Pause between two checks for notifications. A check costs no SQL.
const POLL: Duration = Duration::from_millis(25);
/// Pause between two heartbeats: one statement each.
const HEARTBEAT: Duration = Duration::from_millis(200);
/// Time after a heartbeat was sent during which caches are trusted. Every replica knows of a revocation within this
/// time plus one database read.
const HEARD_FOR: Duration = Duration::from_millis(700);
/// Time without a heartbeat after which the connection is replaced.
const SILENCE: Duration = Duration::from_millis(850);
/// Longest time that connecting may take.
const CONNECTING: Duration = Duration::from_secs(10);
const RECONNECT: Duration = Duration::from_millis(500);

/// Receiver of changes, and of the time until which its cache can be trusted.
pub trait ChangeHandler: Send + Sync + 'static {
    fn hear(&self, change: &Change);
    fn set_listening(&self, listening: Listening);
}

/// State shared by all attempts to listen.
struct ListenerState {
    db: Db,
    clock: Clock,
    audiences: Vec<Arc<dyn ChangeHandler>>,
    is_over: AtomicBool,
    /// True if the last comparison found the clocks too far apart.
    is_off: AtomicBool,
}

impl ListenerState {
    fn tell(&self, listening: Listening) {
        self.audiences.iter().for_each(|audience| audience.set_listening(listening));
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Publishes the difference between this machine's clock and the database's, and logs when it becomes too large.
    fn note_clock(&self, offset: TimeDelta) {
        metrics::gauge!("gatepost_clock_offset_seconds").set(offset.as_seconds_f64());
        let complaint = clock::complaint(offset);
        let was_off = self.is_off.swap(complaint.is_some(), Ordering::AcqRel);
        match complaint {
            Some(complaint) if !was_off => tracing::warn!("{complaint}"),
            None if was_off => tracing::info!("this machine's clock and the database's are in step again"),
            _ => {}
        }
    }
}

/// Listening connection on its own thread, because libpq can hang for minutes when the other end is silently gone.
struct Attempt {
    line: Arc<ListenerState>,
    started: Instant,
    /// Milliseconds after `started` at which the attempt counts as hanging.
    deadline: AtomicU64,
    has_begun: AtomicBool,
    /// Set once another attempt has replaced this one.
    is_abandoned: AtomicBool,
}

impl Attempt {
    fn new(line: &Arc<ListenerState>) -> Self {
        let attempt = Self {
            line: Arc::clone(line),
            started: Instant::now(),
            deadline: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
        };
        attempt.give(CONNECTING);
        attempt
    }

    fn give(&self, time: Duration) {
        let deadline = u64::try_from((self.started.elapsed() + time).as_millis()).unwrap_or(u64::MAX);
        self.deadline.store(deadline, Ordering::Release);
    }

    fn hangs(&self) -> bool {
        Duration::from_millis(self.deadline.load(Ordering::Acquire)) < self.started.elapsed()
    }

    fn is_over(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire) || self.line.is_over()
    }

    /// Listens until the connection breaks or the attempt is over.
    fn run(&self) -> Result<()> {
        let mut conn = self.line.db.dedicated()?;
        notify::listen(&mut conn)?;
        let mut last_beat = None;
        while !self.is_over() {
            if last_beat.is_none_or(|at: Instant| HEARTBEAT <= at.elapsed()) {
                last_beat = Some(self.beat(&mut conn)?);
            } else {
                self.hand_on(&mut conn)?;
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Sends a heartbeat query, then passes on notifications. Changes committed before the query arrive before its
    /// response. Returns the time at which the query was sent.
    fn beat(&self, conn: &mut PgConnection) -> Result<Instant> {
        let sent = Instant::now();
        let offset = server_clock::offset(conn, &self.line.clock)?;
        self.hand_on(conn)?;
        // An abandoned attempt must not report, since its successor does.
        if self.is_over() {
            return Ok(sent);
        }
        if !self.has_begun.swap(true, Ordering::AcqRel) {
            // Pooled connections opened earlier may hang too, like the previous listener's.
            self.line.db.renew();
            self.line.tell(Listening::Began);
        }
        self.line.tell(Listening::Until(sent + HEARD_FOR));
        self.give(SILENCE);
        if let Some(offset) = offset {
            self.line.note_clock(offset);
        }
        Ok(sent)
    }

    fn hand_on(&self, conn: &mut PgConnection) -> Result<()> {
        for change in notify::heard(conn)? {
            self.line.audiences.iter().for_each(|audience| audience.hear(&change));
        }
        Ok(())
    }
}

/// Handle of the listener's threads.
pub struct Listener {
    line: Arc<ListenerState>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    pub fn start(db: Db, clock: Clock, audiences: Vec<Arc<dyn ChangeHandler>>) -> Result<Self> {
        metrics::describe_gauge!(
            "gatepost_clock_offset_seconds",
            "Seconds by which this machine's clock is ahead of the database's; negative: behind"
        );
        let (is_over, is_off) = (AtomicBool::new(false), AtomicBool::new(false));
        let line = Arc::new(ListenerState { db, clock, audiences, is_over, is_off });
        let thread = spawn("listen-watch", {
            let line = Arc::clone(&line);
            move || keep_listening(&line)
        })?;
        Ok(Self { line, thread: Some(thread) })
    }

    /// Stops and waits for the threads. A thread that hangs on a dead connection is left behind.
    pub fn stop(mut self) {
        self.line.is_over.store(true, Ordering::Release);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::Release);
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Error::bug)
}

/// Listens again and again until the process stops.
fn keep_listening(line: &Arc<ListenerState>) {
    let mut was_said = false;
    while !line.is_over() {
        let attempt = Arc::new(Attempt::new(line));
        let result = watch(&attempt);
        line.tell(Listening::Ended);
        was_said &= !attempt.has_begun.load(Ordering::Acquire);
        let Err(error) = result else { continue };
        if !was_said {
            tracing::warn!(cause = ?std::error::Error::source(&error), "changes are not heard: connecting again");
        }
        was_said = true;
        if !attempt.hangs() {
            thread::sleep(RECONNECT);
        }
    }
}

/// Runs an attempt on a thread, and abandons it if it hangs.
fn watch(attempt: &Arc<Attempt>) -> Result<()> {
    let running = Arc::clone(attempt);
    let thread = spawn("listen", move || running.run())?;
    while !thread.is_finished() {
        if attempt.line.is_over() {
            attempt.give(SILENCE);
            while !thread.is_finished() && !attempt.hangs() {
                thread::sleep(POLL);
            }
            return Ok(());
        }
        if attempt.hangs() {
            attempt.is_abandoned.store(true, Ordering::Release);
            return Err(Error::unavailable("the connection is silent"));
        }
        thread::sleep(POLL);
    }
    thread.join().unwrap_or_else(|_| Err(Error::bug("the thread that listens has failed")))
}

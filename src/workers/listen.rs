//! Hears what other processes have changed, and hands it on: a thread and a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;

use crate::domain::{Error, Result};
use crate::store::Db;
use crate::store::notify::{self, Change};

/// How often the connection is asked whether anything came in. This costs no SQL.
const POLL: Duration = Duration::from_millis(25);
/// How often it is made sure that the other end is still there.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Without a heartbeat for so long, the line counts as dead, even if nothing has failed yet.
const PATIENCE: Duration = Duration::from_secs(5);
const RECONNECT: Duration = Duration::from_millis(500);

/// Somebody who wants to hear of changes, and whether they are heard at all.
pub trait Audience: Send + Sync + 'static {
    fn hear(&self, change: &Change);
    fn set_listening(&self, is_listening: bool);
}

/// What the listening thread and its watchman share.
struct Line {
    db: Db,
    audiences: Vec<Arc<dyn Audience>>,
    is_over: AtomicBool,
    /// Milliseconds from the start to the last sign of life.
    last_sign: AtomicU64,
    started: Instant,
}

impl Line {
    fn tell(&self, is_listening: bool) {
        self.audiences.iter().for_each(|audience| audience.set_listening(is_listening));
    }

    fn sign_of_life(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_sign.store(elapsed, Ordering::Release);
    }

    fn is_silent(&self) -> bool {
        let last = Duration::from_millis(self.last_sign.load(Ordering::Acquire));
        PATIENCE < self.started.elapsed().saturating_sub(last)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

/// The two threads: one that listens, and one that notices when the first hangs on a half-open connection.
pub struct Listener {
    line: Arc<Line>,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    pub fn start(db: Db, audiences: Vec<Arc<dyn Audience>>) -> Result<Self> {
        let (is_over, last_sign, started) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
        let line = Arc::new(Line { db, audiences, is_over, last_sign, started });
        let spawn = |name: &str, work: fn(&Line)| {
            let line = Arc::clone(&line);
            thread::Builder::new().name(name.to_owned()).spawn(move || work(&line)).map_err(Error::bug)
        };
        let threads = vec![spawn("listen", listen)?, spawn("listen-watch", watch)?];
        Ok(Self { line, threads })
    }

    /// Blocks until both threads have ended; a thread that hangs on a dead connection is left behind.
    pub fn stop(mut self) {
        self.line.is_over.store(true, Ordering::Release);
        for thread in std::mem::take(&mut self.threads) {
            if self.line.is_silent() && !thread.is_finished() {
                continue;
            }
            let _ = thread.join();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.line.is_over.store(true, Ordering::Release);
    }
}

fn listen(line: &Line) {
    let mut was_said = false;
    while !line.is_over() {
        if let Err(error) = stay_on(line) {
            line.tell(false);
            if !was_said {
                tracing::warn!(cause = ?std::error::Error::source(&error), "changes are not heard: connecting again");
            }
            was_said = true;
        } else {
            was_said = false;
        }
        if !line.is_over() {
            thread::sleep(RECONNECT);
        }
    }
    line.tell(false);
}

/// Listens on one connection until it breaks or all is over.
fn stay_on(line: &Line) -> Result<()> {
    let mut conn = line.db.dedicated()?;
    notify::listen(&mut conn)?;
    line.sign_of_life();
    line.tell(true);
    let mut last_beat = Instant::now();
    while !line.is_over() {
        for change in notify::heard(&mut conn)? {
            line.audiences.iter().for_each(|audience| audience.hear(&change));
        }
        if HEARTBEAT < last_beat.elapsed() {
            beat(line, &mut conn)?;
            last_beat = Instant::now();
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn beat(line: &Line, conn: &mut PgConnection) -> Result<()> {
    let was_silent = line.is_silent();
    notify::heartbeat(conn)?;
    if was_silent || line.is_silent() {
        // What came in meanwhile was heard late: a new connection makes everybody start afresh.
        return Err(Error::unavailable("the connection was silent for too long"));
    }
    line.sign_of_life();
    Ok(())
}

fn watch(line: &Line) {
    while !line.is_over() {
        thread::sleep(POLL * 4);
        if line.is_silent() {
            line.tell(false);
        }
    }
}

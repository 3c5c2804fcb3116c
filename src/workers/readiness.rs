//! Readiness worker: checks once a second that the database can serve requests, on a connection outside all pools.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{Stop, pause};
use crate::domain::{Error, Result};
use crate::services::readiness::{self, Readiness, Reason};
use crate::store::Db;

/// Pause between two checks.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest duration of a check, with connecting.
const DEADLINE: Duration = Duration::from_secs(3);
/// Longest duration of one statement of a check.
const STATEMENT: Duration = Duration::from_secs(1);
/// Maximum number of threads that may hang on dead connections before no more are started.
const MOST_HANGING: usize = 8;

/// Checks until the server stops. A hanging check is left behind on its thread, and the next one opens a new
/// connection.
pub async fn run(db: Db, readiness: Arc<Readiness>, mut stop: Stop) {
    let threads = Arc::new(Semaphore::new(MOST_HANGING));
    let mut conn = None;
    loop {
        let check = timeout(DEADLINE, on_a_thread(&threads, &db, conn.take()));
        let checked = tokio::select! {
            checked = check => checked,
            _ = stop.wait_for(|is_over| *is_over) => return,
        };
        let result = match checked {
            Ok(Ok(kept)) => {
                conn = kept.0;
                kept.1
            }
            Ok(Err(_)) | Err(_) => Err(Reason::DATABASE),
        };
        readiness.note(result, Instant::now());
        if !pause(&mut stop, PERIOD).await {
            return;
        }
    }
}

/// Connection to keep for the next check, and the result of this one.
type Checked = (Option<PgConnection>, Result<(), Reason>);

/// Runs one check on its own thread: libpq may block for minutes on a half-open connection.
async fn on_a_thread(threads: &Arc<Semaphore>, db: &Db, conn: Option<PgConnection>) -> Result<Checked> {
    let permit = Arc::clone(threads).acquire_owned().await.map_err(Error::bug)?;
    let (db, (answer, answered)) = (db.clone(), oneshot::channel());
    let work = move || {
        let _permit = permit;
        // The receiver is gone after the deadline.
        let _ = answer.send(checked(&db, conn));
    };
    thread::Builder::new().name("readiness".to_owned()).spawn(work).map_err(Error::bug)?;
    answered.await.map_err(Error::bug)
}

/// Checks, and on failure checks again with a new connection: the old one may have been closed.
fn checked(db: &Db, conn: Option<PgConnection>) -> Checked {
    if let Some(mut conn) = conn
        && readiness::check(&mut conn).is_ok()
    {
        return (Some(conn), Ok(()));
    }
    match db.dedicated_within(STATEMENT) {
        Ok(mut conn) => {
            let result = readiness::check(&mut conn);
            (result.is_ok().then_some(conn), result)
        }
        Err(error) => {
            tracing::debug!(%error, "the readiness check cannot connect");
            (None, Err(Reason::DATABASE))
        }
    }
}

//! Two threads that hash with argon2id, for as many requests as ask.

mod turns;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::domain::{Error, Result};

pub use turns::Requester;
use turns::Turns;

/// Each hash takes a core for tens of milliseconds, and 19 MiB.
const AT_ONCE: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Threads of their own, and not those of Tokio, which may all be waiting for the database.
pub struct Hashing {
    jobs: Sender<Job>,
    turns: Arc<Turns>,
    patience: Duration,
}

impl Hashing {
    /// Who has waited for `patience` is told to come again. The threads end with it.
    pub fn start(patience: Duration) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_ONCE {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("hashing".to_owned()).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs, turns: Turns::new(AT_ONCE), patience })
    }

    /// Runs it off the async threads, for known requesters first. What has begun is not broken off.
    pub async fn run<T: Send + 'static>(
        &self,
        requester: &Requester,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let turn = self.turns.wait(requester, self.patience).await;
        let turn = turn.ok_or_else(|| Error::unavailable("too many secrets are being hashed"))?;
        let (answer, answered) = oneshot::channel();
        let job = move || {
            let _turn = turn;
            // Who asked may have gone away.
            let _ = answer.send(work());
        };
        self.jobs.send(Box::new(job)).map_err(|_| Error::bug("the threads that hash are gone"))?;
        answered.await.map_err(Error::bug)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // Whoever asked is told by the answer that does not come; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn all_is_done_by_the_same_two_threads_and_a_panic_ends_neither() {
        let hashing = Hashing::start(Duration::from_secs(9)).unwrap();
        let panics = (0..4).map(|_| hashing.run(&Requester::Unknown, || panic!("as it should")));
        let failed: Vec<Result<()>> = futures_util::future::join_all(panics).await;
        assert!(failed.iter().all(|done| matches!(done, Err(Error::Bug(_)))));
        let asked = (0..40).map(|_| hashing.run(&Requester::Unknown, || thread::current().id()));
        let threads: HashSet<_> = futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
        assert!(threads.len() <= AT_ONCE);
    }

    #[tokio::test]
    async fn who_waits_for_too_long_is_told_to_come_again() {
        let hashing = Hashing::start(Duration::from_millis(20)).unwrap();
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let held = || {
            let ended = Arc::clone(&ended);
            hashing.run(&Requester::Unknown, move || ended.lock().unwrap().recv().is_err())
        };
        let late = async {
            let told = hashing.run(&Requester::Unknown, || ()).await;
            drop(end);
            told
        };
        let (one, two, late) = futures_util::join!(held(), held(), late);
        assert!(one.is_ok() && two.is_ok());
        assert!(matches!(late, Err(Error::Unavailable(_))));
    }
}

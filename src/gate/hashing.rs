//! Hashing with argon2id on two threads, shared by all requests.

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

/// Number of threads. Each hash takes a core for tens of milliseconds, and 19 MiB.
const AT_ONCE: usize = 2;

type Job = Box<dyn FnOnce() + Send>;

/// Pool of hashing threads. They are separate from Tokio's blocking threads, which may all wait for the database.
pub struct Hashing {
    jobs: Sender<Job>,
    turns: Arc<Turns>,
    patience: Duration,
}

impl Hashing {
    /// Starts the threads. A request that waits longer than `patience` fails as unavailable. Dropping the pool ends
    /// the threads.
    pub fn start(patience: Duration) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..AT_ONCE {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("hashing".to_owned()).spawn(move || work(&waiting))?;
        }
        Ok(Self { jobs, turns: Turns::new(AT_ONCE), patience })
    }

    /// Runs work off the async threads, known requesters first. Work that has begun is not cancelled.
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
            // The caller may have gone.
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
        // After a panic the caller sees a closed channel, and the thread continues.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[tokio::test]
    async fn two_threads_do_all_hashing_and_survive_a_panic() {
        let hashing = Hashing::start(Duration::from_secs(9)).unwrap();
        let panics = (0..4).map(|_| hashing.run(&Requester::Unknown, || panic!("as it should")));
        let failed: Vec<Result<()>> = futures_util::future::join_all(panics).await;
        assert!(failed.iter().all(|done| matches!(done, Err(Error::Bug(_)))));
        let asked = (0..40).map(|_| hashing.run(&Requester::Unknown, || thread::current().id()));
        let threads: HashSet<_> = futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
        assert!(threads.len() <= AT_ONCE);
    }

    #[tokio::test]
    async fn a_request_that_waits_too_long_fails() {
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

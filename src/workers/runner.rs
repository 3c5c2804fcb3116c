//! Start and stop of all workers. They share one thread, and a stop loses nothing under way.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::spawn_blocking;

use super::listen::{ChangeHandler, Listener};
use super::waiting_webhooks::WaitingWebhooks;
use super::{Context, Stop, deliver, mail, prune, publish, readiness, reap, remind, settle};
use crate::domain::{Error, Result};
use crate::gate::cache_trust::Listening;
use crate::services::delivery_signal::{DeliverySignal, DueWebhooks};
use crate::services::outbox::Waiting;
use crate::store::notify::Change;

/// Time that a stop waits for requests under way. Slower requests are made again once their lease has expired.
const GRACE: Duration = Duration::from_secs(10);

/// Signals the delivery worker when another replica has published.
struct News(Arc<DeliverySignal>);

impl ChangeHandler for News {
    fn hear(&self, change: &Change) {
        self.0.hear(change);
    }

    /// After a gap in listening, look everywhere: events published meanwhile are due as well.
    fn set_listening(&self, listening: Listening) {
        if matches!(listening, Listening::Began) {
            self.0.notify(DueWebhooks::Anywhere);
        }
    }
}

/// Running workers of this process.
pub struct Workers {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
    listener: Listener,
}

impl Workers {
    /// Starts all workers. `audiences` also receive changes, besides the delivery worker.
    pub fn start(
        context: Context,
        posts: mpsc::Receiver<Waiting>,
        mut audiences: Vec<Arc<dyn ChangeHandler>>,
    ) -> Result<Self> {
        audiences.push(Arc::new(News(Arc::clone(&context.delivery_signal))));
        let listener = Listener::start(context.db.clone(), context.clock.clone(), audiences)?;
        let runtime = Builder::new_current_thread().enable_all().thread_name("deliver").build().map_err(Error::bug)?;
        let (stop, stopped) = watch::channel(false);
        let work = move || on_thread(&runtime, context, posts, stopped);
        let thread = thread::Builder::new().name("deliver".to_owned()).spawn(work).map_err(Error::bug)?;
        Ok(Self { stop, thread, listener })
    }

    /// Stops claiming, waits for requests under way, and writes their results.
    pub async fn stop(self) {
        let Self { stop, thread, listener } = self;
        // The receiver is gone only if the thread has already ended.
        let _ = stop.send(true);
        let ended = spawn_blocking(move || {
            let has_ended = thread.join().is_ok();
            listener.stop();
            has_ended
        });
        if !ended.await.unwrap_or(false) {
            tracing::error!("the delivery thread ended badly");
        }
    }
}

fn on_thread(runtime: &Runtime, context: Context, posts: mpsc::Receiver<Waiting>, stop: Stop) {
    runtime.block_on(async {
        let side = [
            tokio::spawn(reap::run(context.clone(), stop.clone())),
            tokio::spawn(prune::run(context.clone(), stop.clone())),
            tokio::spawn(remind::run(context.clone(), stop.clone())),
            tokio::spawn(mail::run(context.clone(), stop.clone())),
            tokio::spawn(readiness::run(context.db.clone(), Arc::clone(&context.readiness), stop.clone())),
        ];
        deliver_and_settle(context, posts, stop).await;
        for task in side {
            // The panic of a failed task is already in the log.
            let _ = task.await;
        }
    });
}

async fn deliver_and_settle(context: Context, posts: mpsc::Receiver<Waiting>, stop: Stop) {
    let slots = Arc::new(Semaphore::new(context.slots));
    let more = Arc::new(WaitingWebhooks::default());
    // Bounded by the number of slots, since each entry holds one.
    let (done, settled) = mpsc::unbounded_channel();
    let settling = tokio::spawn(settle::run(context.clone(), Arc::clone(&more), settled, stop.clone()));
    let off = publish::Off { slots: Arc::clone(&slots), done: done.clone() };
    let posting = tokio::spawn(publish::run(context.clone(), off, posts, stop.clone()));
    let all = u32::try_from(context.slots).unwrap_or(u32::MAX);
    deliver::run(context, Arc::clone(&slots), more, done, stop).await;
    // The panic of a failed task is already in the log.
    let _ = posting.await;
    // All slots are free once every request has ended and is written.
    if tokio::time::timeout(GRACE, slots.acquire_many(all)).await.is_err() {
        tracing::warn!("requests are still in flight: they will be made again once their leases have run out");
        settling.abort();
    }
    let _ = settling.await;
}

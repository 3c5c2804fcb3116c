//! Publishing worker: writes waiting posts in one transaction and sends the deliveries that it leased.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, UnboundedSender};

use super::deliver::{self, Done};
use super::{Context, Stop};
use crate::domain::{Error, Result};
use crate::services::dispatch::LeaseLimits;
use crate::services::events::Published;
use crate::services::outbox::{self, Outcome, PublishRequest, Waiting};
use crate::store::{Scope, Tx};

/// Maximum number of requests in one transaction.
const MOST_POSTS: usize = 64;
/// Events after which a transaction takes no further request.
const MOST_EVENTS: usize = 1_000;

/// Slots and settling channel for leased deliveries.
pub struct Off {
    pub slots: Arc<Semaphore>,
    pub done: UnboundedSender<Done>,
}

/// Publishes until all senders are gone or the worker is told to stop.
pub async fn run(context: Context, off: Off, mut posts: Receiver<Waiting>, mut stop: Stop) {
    loop {
        let first = tokio::select! {
            first = posts.recv() => first,
            _ = stop.wait_for(|is_over| *is_over) => return,
        };
        let Some(first) = first else { return };
        let group = group(first, &mut posts);
        publish(&context, &off, group).await;
    }
}

/// Groups all posts that arrived during the previous transaction.
fn group(first: Waiting, posts: &mut Receiver<Waiting>) -> Vec<Waiting> {
    let (mut events, mut group) = (first.post.len(), vec![first]);
    while group.len() < MOST_POSTS && events < MOST_EVENTS {
        let Ok(next) = posts.try_recv() else { break };
        events += next.post.len();
        group.push(next);
    }
    group
}

async fn publish(context: &Context, off: &Off, group: Vec<Waiting>) {
    let posts: Vec<Arc<PublishRequest>> = group.iter().map(|one| Arc::clone(&one.post)).collect();
    match write(context, off, posts).await {
        Ok(published) => {
            for (one, published) in group.into_iter().zip(published) {
                // The caller may have gone.
                let _ = one.done.send(Ok(published));
            }
        }
        Err(Error::Unavailable(cause)) => {
            tracing::warn!(%cause, "events can't be published just now");
            for one in group {
                let _ = one.done.send(Err(Error::unavailable("the events could not be written")));
            }
        }
        // Publish each post alone, so that one refused by the database does not fail the others.
        Err(_) => {
            for one in group {
                let published = write(context, off, vec![one.post]).await;
                let _ = one.done.send(published.map(|all| all.into_iter().flatten().collect()));
            }
        }
    }
}

/// Publishes in one transaction and sends the deliveries that it leased.
async fn write(context: &Context, off: &Off, posts: Vec<Arc<PublishRequest>>) -> Result<Vec<Vec<Published>>> {
    let turn = context.claim_lock.lock().await;
    let mut held = deliver::hold(&off.slots, deliver::MOST_AT_ONCE);
    let room = LeaseLimits {
        slots: held.as_ref().and_then(|held| i64::try_from(held.num_permits()).ok()).unwrap_or(0),
        for_failing: 0,
        per_tenant: context.per_tenant,
    };
    let lease = context.lease;
    let publish = move |tx: &mut Tx<'_>| outbox::publish(tx, &posts, room, lease);
    let Outcome { published, claims } = context.db.tx_again(Scope::Instance, publish).await?;
    drop(turn);
    for claim in claims {
        // Never reached: no more deliveries are leased than slots are held.
        let Some(slot) = held.as_mut().and_then(|held| held.split(1)) else { break };
        deliver::send(context, claim, slot.into(), &off.done);
    }
    Ok(published)
}

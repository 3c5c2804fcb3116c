//! Delivery worker: claims due deliveries and sends them, at most one request per slot at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::waiting_webhooks::WaitingWebhooks;
use super::{Context, Stop, is_over};
use crate::domain::retry::Jitter;
use crate::domain::{Result, WebhookId};
use crate::services::delivery_signal::DueWebhooks;
use crate::services::dispatch::{self, Claim, LeaseLimits, LeasedDeliveries, Settlement};
use crate::store::{Scope, Tx};

/// Pause after a claim, so that the next one finds more.
const GATHERING: Duration = Duration::from_millis(2);
/// Maximum number of deliveries per claim. While they are sent, the next ones are claimed and earlier ones are settled.
pub const MOST_AT_ONCE: u32 = 64;
/// A claim of fewer deliveries counts as small.
const FEW: usize = 16;
/// Interval between looks at all webhooks.
const POLL: Duration = Duration::from_secs(1);
/// Interval at which webhooks held back by their rate limit are tried again.
const PACE: Duration = Duration::from_millis(50);

/// Judged attempt that waits to be written. Its slot becomes free after that.
pub struct Done {
    pub settlement: Settlement,
    pub slot: Slot,
}

/// Permit for one request under way.
pub struct Slot {
    _one: OwnedSemaphorePermit,
    /// Second permit, held by requests to failing webhooks.
    of_failing: Option<OwnedSemaphorePermit>,
}

impl Slot {
    pub fn is_of_failing(&self) -> bool {
        self.of_failing.is_some()
    }
}

impl From<OwnedSemaphorePermit> for Slot {
    fn from(one: OwnedSemaphorePermit) -> Self {
        Self { _one: one, of_failing: None }
    }
}

/// Claims and sends until told to stop. Then it returns at once; requests under way go on by themselves.
pub async fn run(
    context: Context,
    slots: Arc<Semaphore>,
    more: Arc<WaitingWebhooks>,
    done: UnboundedSender<Done>,
    mut stop: Stop,
) {
    // Endpoints that do not respond hold their slots until the timeout. They get at most half of all slots.
    let of_failing = Arc::new(Semaphore::new(context.slots.div_ceil(2)));
    let mut look_at = Instant::now();
    while !is_over(&stop) {
        let begun = Instant::now();
        let rung = context.delivery_signal.take().and(more.paced());
        let call = if look_at <= begun { DueWebhooks::Anywhere } else { rung };
        if call == DueWebhooks::Anywhere {
            look_at = begun + POLL;
        }
        // After a short pause more slots are free and more events are published: larger claims cost less per delivery.
        let wait = match round(&context, &slots, &of_failing, &more, &done, call).await {
            Ok(claimed) if FEW <= claimed => Some(GATHERING),
            // A look through many webhooks that finds little is slow. Pause longer, since others need the database
            // too.
            Ok(_) => Some(GATHERING.max(4 * begun.elapsed())),
            Err(error) => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "deliveries can't be claimed just now");
                None
            }
        };
        tokio::select! {
            // After a failure ignore signals until the next look, since each claim would fail too.
            () = context.delivery_signal.notified(), if wait.is_some() => tokio::time::sleep(wait.unwrap_or_default()).await,
            () = tokio::time::sleep_until(look_at) => {}
            () = tokio::time::sleep(PACE), if wait.is_some() && more.has_paced() => {}
            _ = stop.wait_for(|is_over| *is_over) => {}
        }
    }
}

/// Claims once from webhooks that may have something due, limited by free slots and [`MOST_AT_ONCE`]. Sends the
/// requests and returns their number.
async fn round(
    context: &Context,
    slots: &Arc<Semaphore>,
    of_failing: &Arc<Semaphore>,
    more: &WaitingWebhooks,
    done: &UnboundedSender<Done>,
    call: DueWebhooks,
) -> Result<usize> {
    let webhooks = match call {
        DueWebhooks::At(webhooks) => webhooks.into_iter().collect(),
        DueWebhooks::Anywhere => look(context, slots, of_failing, more).await?,
    };
    if webhooks.is_empty() {
        return Ok(0);
    }
    let Some((claims, mut held)) = lease(context, slots, of_failing, more, &webhooks).await? else {
        // Another task took the last slot.
        more.wait_for_a_slot();
        return Ok(0);
    };
    let claimed = claims.len();
    if held.num_permits() <= claimed {
        if 0 < slots.available_permits() {
            context.delivery_signal.notify(DueWebhooks::at(webhooks));
        } else {
            more.wait_for_a_slot();
        }
    }
    for claim in claims {
        // Never reached: no more deliveries are leased than slots are held.
        let Some(one) = held.split(1) else { break };
        let of_failing = if claim.is_failing() { Arc::clone(of_failing).try_acquire_owned().ok() } else { None };
        send(context, claim, Slot { _one: one, of_failing }, done);
    }
    Ok(claimed)
}

/// Returns webhooks with something due that may be sent now, at most one per free slot.
async fn look(
    context: &Context,
    slots: &Semaphore,
    of_failing: &Semaphore,
    more: &WaitingWebhooks,
) -> Result<Vec<WebhookId>> {
    let free = free(slots, u32::MAX);
    if free == 0 {
        more.wait_for_a_slot();
        return Ok(Vec::new());
    }
    let (room, offset) = (room(context, free, of_failing), context.clock.offset());
    let look = context.db.tx(Scope::Instance, move |tx| dispatch::look(tx, room, offset)).await?;
    // Reset only after the look: requests that ended meanwhile have already signalled.
    more.reset(look.held_up);
    Ok(look.webhooks)
}

/// Leases deliveries of these webhooks and holds a slot for each. Alternates with publishing. `None` if no slot is
/// free.
async fn lease(
    context: &Context,
    slots: &Arc<Semaphore>,
    of_failing: &Semaphore,
    more: &WaitingWebhooks,
    webhooks: &[WebhookId],
) -> Result<Option<(Vec<Claim>, OwnedSemaphorePermit)>> {
    let _turn = context.claim_lock.lock().await;
    let Some(held) = hold(slots, MOST_AT_ONCE) else { return Ok(None) };
    let room = room(context, u32::try_from(held.num_permits()).unwrap_or(MOST_AT_ONCE), of_failing);
    let (lease, clock, from) = (context.lease, context.clock.clone(), webhooks.to_vec());
    let claim = move |tx: &mut Tx<'_>| dispatch::claim(tx, &from, room, lease, clock.offset());
    let LeasedDeliveries { claims, with_more } = context.db.tx(Scope::Instance, claim).await?;
    more.wait_only_at(webhooks, &with_more);
    Ok(Some((claims, held)))
}

fn room(context: &Context, slots: u32, of_failing: &Semaphore) -> LeaseLimits {
    LeaseLimits {
        slots: slots.into(),
        for_failing: i64::try_from(of_failing.available_permits()).unwrap_or(i64::MAX),
        per_tenant: context.per_tenant,
    }
}

/// Takes up to `most` free slots in one permit, or `None` if none is free. Slots are taken before the lease, so that
/// no lease runs while its delivery waits for a slot.
pub fn hold(slots: &Arc<Semaphore>, most: u32) -> Option<OwnedSemaphorePermit> {
    match free(slots, most) {
        0 => None,
        free => Arc::clone(slots).try_acquire_many_owned(free).ok(),
    }
}

fn free(slots: &Semaphore, most: u32) -> u32 {
    u32::try_from(slots.available_permits()).unwrap_or(most).min(most)
}

/// Starts a task that sends a claim and passes the result on for settling.
pub fn send(context: &Context, claim: Claim, slot: Slot, done: &UnboundedSender<Done>) {
    let (context, done) = (context.clone(), done.clone());
    tokio::spawn(async move {
        let settlement = attempt(&context, claim).await;
        // The receiver is gone only when the process ends. The lease then expires.
        let _ = done.send(Done { settlement, slot });
    });
}

/// Makes one attempt. Holds no transaction and no connection meanwhile.
async fn attempt(context: &Context, claim: Claim) -> Settlement {
    let request = match claim.request(&context.vault, context.clock.now()) {
        Ok(request) => request,
        Err(error) => {
            tracing::error!(cause = ?std::error::Error::source(&error), "a delivery can't be prepared");
            return claim.spoil("the request of this delivery could not be prepared");
        }
    };
    let sent = request.headers.clone();
    let outbound = context.outbound.clone();
    // A task of its own turns a panic into a failed delivery, instead of an endless loop of retries.
    match tokio::spawn(async move { outbound.send(request).await }).await {
        Ok(outcome) => claim.settle(&sent, outcome, jitter()),
        Err(error) => {
            tracing::error!(%error, "sending a delivery has failed inside");
            claim.spoil("sending this delivery failed inside Gatepost")
        }
    }
}

fn jitter() -> Jitter {
    getrandom::u32().map_or(Jitter::NONE, Jitter::from_random)
}

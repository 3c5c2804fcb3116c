//! Claims what is due and sends it, never more at once than there are slots.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::more::More;
use super::{Context, Stop, is_over};
use crate::domain::retry::Jitter;
use crate::domain::{Result, WebhookId};
use crate::services::bell::Call;
use crate::services::dispatch::{self, Claim, Leased, Room, Settlement};
use crate::store::{Scope, Tx};

/// How long a claim waits for others to come along.
const GATHERING: Duration = Duration::from_millis(2);
/// In one claim: while these are being sent, the next ones are claimed and those before them are settled.
pub const MOST_AT_ONCE: u32 = 64;
/// Fewer than these are little for a claim.
const FEW: usize = 16;
/// How often is looked everywhere for what has become due.
const POLL: Duration = Duration::from_secs(1);
/// How often is asked whether a webhook's rate lets more go.
const PACE: Duration = Duration::from_millis(50);

/// A judged attempt on its way to be written; its slot is free again once it has been.
pub struct Done {
    pub settlement: Settlement,
    pub slot: Slot,
}

/// A place among the requests in flight.
pub struct Slot {
    _one: OwnedSemaphorePermit,
    /// Among those that failing webhooks may take.
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

/// Claims and sends until told to stop. Returns at once then: what is in flight goes on by itself.
pub async fn run(
    context: Context,
    slots: Arc<Semaphore>,
    more: Arc<More>,
    done: UnboundedSender<Done>,
    mut stop: Stop,
) {
    // Endpoints that don't answer hold their slots for as long as a deadline: half of them stay with the others.
    let of_failing = Arc::new(Semaphore::new(context.slots.div_ceil(2)));
    let mut look_at = Instant::now();
    while !is_over(&stop) {
        let begun = Instant::now();
        let rung = context.bell.take().and(more.paced());
        let call = if look_at <= begun { Call::Anywhere } else { rung };
        if call == Call::Anywhere {
            look_at = begun + POLL;
        }
        // A moment later more slots are free and more has been published: larger claims cost less for each.
        let wait = match round(&context, &slots, &of_failing, &more, &done, call).await {
            Ok(claimed) if FEW <= claimed => Some(GATHERING),
            // Looking through many webhooks for little takes long: others want the database too.
            Ok(_) => Some(GATHERING.max(4 * begun.elapsed())),
            Err(error) => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "deliveries can't be claimed just now");
                None
            }
        };
        tokio::select! {
            // After a failure every ring would be another one.
            () = context.bell.rung(), if wait.is_some() => tokio::time::sleep(wait.unwrap_or_default()).await,
            () = tokio::time::sleep_until(look_at) => {}
            () = tokio::time::sleep(PACE), if wait.is_some() && more.has_paced() => {}
            _ = stop.wait_for(|is_over| *is_over) => {}
        }
    }
}

/// One claim where something may be due, as large as there are free slots or as is well, and its requests sent off; how many
/// they are.
async fn round(
    context: &Context,
    slots: &Arc<Semaphore>,
    of_failing: &Arc<Semaphore>,
    more: &More,
    done: &UnboundedSender<Done>,
    call: Call,
) -> Result<usize> {
    let webhooks = match call {
        Call::At(webhooks) => webhooks.into_iter().collect(),
        Call::Anywhere => look(context, slots, of_failing, more).await?,
    };
    if webhooks.is_empty() {
        return Ok(0);
    }
    let Some((claims, mut held)) = lease(context, slots, of_failing, more, &webhooks).await? else {
        // Somebody was faster.
        more.wait_for_a_slot();
        return Ok(0);
    };
    let claimed = claims.len();
    if held.num_permits() <= claimed {
        if 0 < slots.available_permits() {
            context.bell.ring(Call::at(webhooks));
        } else {
            more.wait_for_a_slot();
        }
    }
    for claim in claims {
        // As many slots are held as deliveries could be leased.
        let Some(one) = held.split(1) else { break };
        let of_failing = if claim.is_failing() { Arc::clone(of_failing).try_acquire_owned().ok() } else { None };
        send(context, claim, Slot { _one: one, of_failing }, done);
    }
    Ok(claimed)
}

/// Webhooks of which something is due that may be sent now, as many as slots are free.
async fn look(context: &Context, slots: &Semaphore, of_failing: &Semaphore, more: &More) -> Result<Vec<WebhookId>> {
    let free = free(slots, u32::MAX);
    if free == 0 {
        more.wait_for_a_slot();
        return Ok(Vec::new());
    }
    let (room, offset) = (room(context, free, of_failing), context.clock.offset());
    let look = context.db.tx(Scope::Instance, move |tx| dispatch::look(tx, room, offset)).await?;
    // Only now: what came back meanwhile has rung.
    more.reset(look.held_up);
    Ok(look.webhooks)
}

/// Leases from these webhooks, in their turn with whoever publishes, and holds as many slots as it may have leased; `None`
/// where there was no slot.
async fn lease(
    context: &Context,
    slots: &Arc<Semaphore>,
    of_failing: &Semaphore,
    more: &More,
    webhooks: &[WebhookId],
) -> Result<Option<(Vec<Claim>, OwnedSemaphorePermit)>> {
    let _turn = context.turnstile.lock().await;
    let Some(held) = hold(slots, MOST_AT_ONCE) else { return Ok(None) };
    let room = room(context, u32::try_from(held.num_permits()).unwrap_or(MOST_AT_ONCE), of_failing);
    let (lease, clock, from) = (context.lease, context.clock.clone(), webhooks.to_vec());
    let claim = move |tx: &mut Tx<'_>| dispatch::claim(tx, &from, room, lease, clock.offset());
    let Leased { claims, with_more } = context.db.tx(Scope::Instance, claim).await?;
    more.wait_only_at(webhooks, &with_more);
    Ok(Some((claims, held)))
}

fn room(context: &Context, slots: u32, of_failing: &Semaphore) -> Room {
    Room {
        slots: slots.into(),
        for_failing: i64::try_from(of_failing.available_permits()).unwrap_or(i64::MAX),
        per_tenant: context.per_tenant,
    }
}

/// Slots that are free just now, at most so many, as one; `None` where there is none. What is leased has its slot from the
/// start, so that no lease runs while its delivery waits for one.
pub fn hold(slots: &Arc<Semaphore>, most: u32) -> Option<OwnedSemaphorePermit> {
    match free(slots, most) {
        0 => None,
        free => Arc::clone(slots).try_acquire_many_owned(free).ok(),
    }
}

fn free(slots: &Semaphore, most: u32) -> u32 {
    u32::try_from(slots.available_permits()).unwrap_or(most).min(most)
}

/// Sends a claim off; what comes of it goes to whoever settles.
pub fn send(context: &Context, claim: Claim, slot: Slot, done: &UnboundedSender<Done>) {
    let (context, done) = (context.clone(), done.clone());
    tokio::spawn(async move {
        let settlement = attempt(&context, claim).await;
        // Nobody receives only where the process ends: the lease runs out then.
        let _ = done.send(Done { settlement, slot });
    });
}

/// Makes one attempt. No transaction and no connection is held meanwhile.
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
    // A task of its own, so that a panic ends this delivery in plain sight instead of repeating for ever.
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

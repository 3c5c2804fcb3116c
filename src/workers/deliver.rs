//! Claims what is due and sends it, never more at once than there are slots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Context, Stop, is_over};
use crate::domain::Result;
use crate::domain::retry::Jitter;
use crate::services::dispatch::{self, Claim, Room, Settlement};
use crate::store::Scope;

/// How long a claim waits for others to come along.
const GATHERING: Duration = Duration::from_millis(2);
/// In one claim: while these are being sent, the next ones are claimed and those before them are settled.
pub const MOST_AT_ONCE: u32 = 64;
/// Fewer than these are little for a claim.
const FEW: usize = 16;
/// How often due retries are looked for where nothing rings.
const POLL: Duration = Duration::from_secs(1);

/// A judged attempt on its way to be written; its slot is free again once it has been.
pub struct Done {
    pub settlement: Settlement,
    pub slot: Slot,
}

/// A place among the requests in flight.
pub struct Slot {
    _one: OwnedSemaphorePermit,
    /// Among those that failing webhooks may take.
    _of_failing: Option<OwnedSemaphorePermit>,
}

impl From<OwnedSemaphorePermit> for Slot {
    fn from(one: OwnedSemaphorePermit) -> Self {
        Self { _one: one, _of_failing: None }
    }
}

/// Claims and sends until told to stop. Returns at once then: what is in flight goes on by itself.
pub async fn run(
    context: Context,
    slots: Arc<Semaphore>,
    has_more: Arc<AtomicBool>,
    done: UnboundedSender<Done>,
    mut stop: Stop,
) {
    // Endpoints that don't answer hold their slots for as long as a deadline: half of them stay with the others.
    let of_failing = Arc::new(Semaphore::new(context.slots.div_ceil(2)));
    while !is_over(&stop) {
        let begun = Instant::now();
        // A moment later more slots are free and more has been published: larger claims cost less for each.
        let wait = match round(&context, &slots, &of_failing, &has_more, &done).await {
            Ok(claimed) if FEW <= claimed => Some(GATHERING),
            // Looking through many webhooks for little takes long: others want the database too.
            Ok(_) => Some(GATHERING.max(2 * begun.elapsed())),
            Err(error) => {
                tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "deliveries can't be claimed just now");
                None
            }
        };
        tokio::select! {
            // After a failure every ring would be another one.
            () = context.wake.notified(), if wait.is_some() => tokio::time::sleep(wait.unwrap_or_default()).await,
            () = tokio::time::sleep(POLL) => {}
            _ = stop.wait_for(|is_over| *is_over) => {}
        }
    }
}

/// One claim, as large as there are free slots or as is well, and its requests sent off; how many they are.
async fn round(
    context: &Context,
    slots: &Arc<Semaphore>,
    of_failing: &Arc<Semaphore>,
    has_more: &AtomicBool,
    done: &UnboundedSender<Done>,
) -> Result<usize> {
    let turn = context.turnstile.lock().await;
    let Some(mut held) = hold(slots, MOST_AT_ONCE) else {
        // The next settlement rings.
        has_more.store(true, Ordering::Release);
        return Ok(0);
    };
    let most = held.num_permits();
    let (lease, clock) = (context.lease, context.clock.clone());
    let room = Room {
        slots: i64::try_from(most).unwrap_or(i64::MAX),
        for_failing: i64::try_from(of_failing.available_permits()).unwrap_or(i64::MAX),
        per_tenant: context.per_tenant,
    };
    let claim = move |conn: &mut _| dispatch::claim(conn, room, lease, clock.offset(), clock.now());
    let had_more = has_more.swap(false, Ordering::AcqRel);
    let claims = context.db.tx(Scope::Instance, claim).await?;
    drop(turn);
    // Nothing came although something waited: a cap is reached, and what is in flight makes room when it comes back.
    let is_held_up = claims.is_empty() && had_more && slots.available_permits().saturating_add(most) < context.slots;
    let is_full = most <= claims.len();
    if is_held_up || is_full || claims.iter().any(Claim::hints_at_more) {
        has_more.store(true, Ordering::Release);
    }
    if is_full && 0 < slots.available_permits() {
        context.wake.notify_one();
    }
    let claimed = claims.len();
    for claim in claims {
        // As many slots are held as deliveries could be leased.
        let Some(one) = held.split(1) else { break };
        let of_failing = if claim.is_failing() { Arc::clone(of_failing).try_acquire_owned().ok() } else { None };
        send(context, claim, Slot { _one: one, _of_failing: of_failing }, done);
    }
    Ok(claimed)
}

/// Slots that are free just now, at most so many, as one; `None` where there is none. What is leased has its slot from the
/// start, so that no lease runs while its delivery waits for one.
pub fn hold(slots: &Arc<Semaphore>, most: u32) -> Option<OwnedSemaphorePermit> {
    let free = u32::try_from(slots.available_permits()).unwrap_or(most).min(most);
    if free == 0 { None } else { Arc::clone(slots).try_acquire_many_owned(free).ok() }
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

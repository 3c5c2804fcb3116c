//! Group publishing: concurrent requests share a transaction, and deliveries that can be sent at once are leased in
//! it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tokio::sync::{mpsc, oneshot};

use super::dispatch::{self, Claim, LeaseLimits, LeasedDeliveries};
use super::events::{NewEvent, Published};
use super::plans;
use crate::domain::retry::Schedule;
use crate::domain::{Actor, Error, EventId, Permission, Result, TenantId, WebhookId};
use crate::store::notify::Change;
use crate::store::outbox::{CreatedDelivery, EventToPublish};
use crate::store::{self, Tx};

/// Maximum number of requests that wait to be published.
const MOST_WAITING: usize = 1_024;
/// Time that a request waits for room in the queue.
const PATIENCE: Duration = Duration::from_secs(2);

/// Events of one caller, published all or none.
#[derive(Debug)]
pub struct PublishRequest {
    actor: Actor,
    events: Vec<NewEvent>,
}

impl PublishRequest {
    /// Wraps events. The caller has checked that the actor may publish.
    pub fn new(actor: Actor, events: Vec<NewEvent>) -> Self {
        Self { actor, events }
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// Post with the channel for its result.
pub struct Waiting {
    pub post: Arc<PublishRequest>,
    pub done: oneshot::Sender<Result<Vec<Published>>>,
}

/// Sending side of the publishing queue. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    way: mpsc::Sender<Waiting>,
    full: Arc<Full>,
}

/// Tenants whose plan was full a moment ago. Their requests are refused early, before they can delay a group of other
/// tenants' events.
#[derive(Default)]
struct Full(Mutex<HashMap<TenantId, (Instant, String)>>);

/// Time for which a plan counts as full.
const FULL_FOR: Duration = Duration::from_secs(1);

impl Full {
    fn must_not_be(&self, tenant: TenantId) -> Result<()> {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        full.retain(|_, (since, _)| since.elapsed() < FULL_FOR);
        full.get(&tenant).map_or(Ok(()), |(_, says)| Err(Error::LimitReached(says.clone())))
    }

    fn note(&self, tenant: TenantId, says: &str) {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        full.insert(tenant, (Instant::now(), says.to_owned()));
    }
}

impl Outbox {
    /// Returns the sending side, and the receiving side for the worker that publishes.
    pub fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self { way: sender, full: Arc::default() }, receiver)
    }

    /// Publishes events without idempotency keys. On return they are stored with their deliveries.
    ///
    /// # Errors
    /// `Unavailable` if the database is away, or the queue is full.
    pub async fn publish(&self, actor: Actor, events: Vec<NewEvent>) -> Result<Vec<Published>> {
        actor.must(Permission::WriteEvents)?;
        let tenant = actor.tenant;
        // Only a single event proves the plan full: a batch that does not fit says nothing about a smaller one.
        let is_one = events.len() == 1;
        self.full.must_not_be(tenant)?;
        let (done, is_done) = oneshot::channel();
        let waiting = Waiting { post: Arc::new(PublishRequest::new(actor, events)), done };
        self.way
            .send_timeout(waiting, PATIENCE)
            .await
            .map_err(|_| Error::unavailable("too much waits to be published"))?;
        let published = is_done.await.map_err(|_| Error::unavailable("the server is stopping"))?;
        if let Err(Error::LimitReached(says)) = &published
            && is_one
        {
            self.full.note(tenant, says);
        }
        published
    }
}

/// Result of publishing a group of posts.
pub struct Outcome {
    /// One entry per post, in the order of the posts.
    pub published: Vec<Vec<Published>>,
    /// Leased deliveries for this process to send, one per free slot.
    pub claims: Vec<Claim>,
}

/// Publishes these posts in `Scope::Instance` and leases deliveries as room allows. The caller has authorised the
/// actors.
pub fn publish(tx: &mut Tx<'_>, posts: &[Arc<PublishRequest>], room: LeaseLimits, lease: Duration) -> Result<Outcome> {
    let now = tx.now;
    let asked: Vec<_> =
        posts.iter().map(|post| (post.actor.tenant, i64::try_from(post.len()).unwrap_or(i64::MAX))).collect();
    plans::count_events(tx, &asked)?;
    // Caps hold only while one transaction leases at a time. If another one holds the lock, do not wait: the worker
    // claims these deliveries later.
    let is_alone = 0 < room.slots && store::claims::try_lock_claims(tx)?;
    let room = if is_alone { room } else { LeaseLimits { slots: 0, ..room } };
    let posted: Vec<Vec<EventToPublish<'_>>> = posts.iter().map(|post| posted(post)).collect();
    let counts: Vec<usize> = posted.iter().map(Vec::len).collect();
    let events: Vec<EventToPublish<'_>> = posted.into_iter().flatten().collect();
    let attempts = Schedule::default().attempts();
    let placed = store::outbox::insert(tx, &events, attempts, room, lease, now)?;
    let mut deliveries: HashMap<EventId, i64> = HashMap::new();
    placed.iter().for_each(|one| *deliveries.entry(one.event_id).or_default() += 1);
    let mut all = events.iter().map(|event| Published {
        id: event.id,
        kind: event.kind.to_owned(),
        webhooks: Vec::new(),
        deliveries: deliveries.get(&event.id).copied().unwrap_or(0),
        created_at: now,
        is_replay: false,
    });
    let published = counts.into_iter().map(|count| all.by_ref().take(count).collect()).collect();
    let by_id: HashMap<EventId, &EventToPublish<'_>> = events.iter().map(|event| (event.id, event)).collect();
    let late = placed.iter().filter(|one| !one.is_leased());
    let late: HashSet<WebhookId> = late.map(|one| one.webhook_id).collect();
    let claim = |one: CreatedDelivery| {
        let event = by_id.get(&one.event_id)?;
        one.into_claimed(event, now).map(Claim::new)
    };
    let mut claims: Vec<Claim> = placed.into_iter().filter(CreatedDelivery::is_leased).filter_map(claim).collect();
    let free = room.slots.saturating_sub(i64::try_from(claims.len()).unwrap_or(i64::MAX));
    let mut due: Vec<WebhookId> = late.into_iter().collect();
    if !due.is_empty() && 0 < free {
        // Claim through the queue, so that older deliveries go first.
        let room = LeaseLimits { slots: free, ..room };
        let LeasedDeliveries { claims: more, with_more } = dispatch::claim(tx, &due, room, lease, TimeDelta::zero())?;
        // A failing webhook is not claimed here, so it stays due, as does any webhook with more to send.
        let asked: HashSet<WebhookId> = more.iter().map(Claim::webhook).collect();
        let left: HashSet<WebhookId> = with_more.iter().map(|held| held.webhook_id).collect();
        due.retain(|webhook| !asked.contains(webhook) || left.contains(webhook));
        claims.extend(more);
    }
    if !due.is_empty() {
        tx.announce(Change::delivery_at(due.iter().copied()));
    }
    Ok(Outcome { published, claims })
}

fn posted(post: &PublishRequest) -> Vec<EventToPublish<'_>> {
    let mut all = Vec::with_capacity(post.events.len());
    for NewEvent { kind, payload, .. } in &post.events {
        all.push(EventToPublish {
            id: EventId::generate(),
            tenant: post.actor.tenant,
            kind: kind.as_str(),
            patterns: kind.patterns(),
            payload,
            api_key: post.actor.key(),
            user: post.actor.user,
        });
    }
    all
}

//! The way of events into the database: requests that come together are published together, and what can be sent at
//! once is leased in the same transaction.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use tokio::sync::{mpsc, oneshot};

use super::dispatch::{self, Claim, Leased, Room};
use super::events::{NewEvent, Published};
use super::plans;
use crate::domain::retry::Schedule;
use crate::domain::{Actor, Error, EventId, Permission, Result, TenantId, WebhookId};
use crate::store::notify::Change;
use crate::store::outbox::{Placed, Posted};
use crate::store::{self, Tx};

/// Requests that wait to be published.
const MOST_WAITING: usize = 1_024;
/// How long one waits for room among them.
const PATIENCE: Duration = Duration::from_secs(2);

/// Events that one caller publishes: all of them or none.
#[derive(Debug)]
pub struct Post {
    actor: Actor,
    events: Vec<NewEvent>,
}

impl Post {
    /// Whoever calls has made sure that the actor may publish.
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

/// A post, and who waits for it.
pub struct Waiting {
    pub post: Arc<Post>,
    pub done: oneshot::Sender<Result<Vec<Published>>>,
}

/// The near end of the way. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    way: mpsc::Sender<Waiting>,
    full: Arc<Full>,
}

/// Tenants whose plan had no room for their events a moment ago: what they send is refused before it can hold up what
/// others publish.
#[derive(Default)]
struct Full(Mutex<HashMap<TenantId, (Instant, String)>>);

/// How long that is believed.
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
    /// And its far end, for the worker that publishes.
    pub fn new() -> (Self, mpsc::Receiver<Waiting>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self { way: sender, full: Arc::default() }, receiver)
    }

    /// Publishes events without idempotency keys: once this returns, they are in the database with their deliveries.
    ///
    /// # Errors
    /// `Unavailable` where the database is away, or too much waits to be published.
    pub async fn publish(&self, actor: Actor, events: Vec<NewEvent>) -> Result<Vec<Published>> {
        actor.must(Permission::WriteEvents)?;
        let tenant = actor.tenant;
        // A batch that does not fit says nothing about a smaller one.
        let is_one = events.len() == 1;
        self.full.must_not_be(tenant)?;
        let (done, is_done) = oneshot::channel();
        let waiting = Waiting { post: Arc::new(Post::new(actor, events)), done };
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

/// What came of some posts.
pub struct Outcome {
    /// For each post, in their order.
    pub published: Vec<Vec<Published>>,
    /// Deliveries that are this process's to send, each in a slot.
    pub claims: Vec<Claim>,
}

/// Publishes all of these, in `Scope::Instance`; whoever asks has been authorised. Leases what there is room for.
pub fn publish(tx: &mut Tx<'_>, posts: &[Arc<Post>], room: Room, lease: Duration) -> Result<Outcome> {
    let now = tx.now;
    let asked: Vec<_> =
        posts.iter().map(|post| (post.actor.tenant, i64::try_from(post.len()).unwrap_or(i64::MAX))).collect();
    plans::count_events(tx, &asked)?;
    // While somebody else claims or publishes, caps can't be kept to without waiting: then all of it is claimed later.
    let is_alone = 0 < room.slots && store::claims::try_turnstile(tx)?;
    let room = if is_alone { room } else { Room { slots: 0, ..room } };
    let posted: Vec<Vec<Posted<'_>>> = posts.iter().map(|post| posted(post)).collect();
    let counts: Vec<usize> = posted.iter().map(Vec::len).collect();
    let events: Vec<Posted<'_>> = posted.into_iter().flatten().collect();
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
    let by_id: HashMap<EventId, &Posted<'_>> = events.iter().map(|event| (event.id, event)).collect();
    let late = placed.iter().filter(|one| !one.is_leased());
    let late: HashSet<WebhookId> = late.map(|one| one.webhook_id).collect();
    let claim = |one: Placed| {
        let event = by_id.get(&one.event_id)?;
        one.into_claimed(event, now).map(Claim::new)
    };
    let mut claims: Vec<Claim> = placed.into_iter().filter(Placed::is_leased).filter_map(claim).collect();
    let free = room.slots.saturating_sub(i64::try_from(claims.len()).unwrap_or(i64::MAX));
    let mut due: Vec<WebhookId> = late.into_iter().collect();
    if !due.is_empty() && 0 < free {
        // Behind what waited before: the oldest go first.
        let room = Room { slots: free, ..room };
        let Leased { claims: more, with_more } = dispatch::claim(tx, &due, room, lease, TimeDelta::zero())?;
        // What is left, and one that is failing, which is not asked from here.
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

fn posted(post: &Post) -> Vec<Posted<'_>> {
    let mut all = Vec::with_capacity(post.events.len());
    for NewEvent { kind, payload, .. } in &post.events {
        all.push(Posted {
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

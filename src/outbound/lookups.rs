//! DNS look-ups on their own threads: a look-up that hangs delays only its own callers.
//!
//! The system resolver cannot be cancelled: callers may leave, but the thread stays until it returns. So the number of
//! threads is bounded, in total and per tenant.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::domain::TenantId;

/// Maximum number of look-ups under way at once.
const MOST: usize = 64;
/// Maximum number of look-ups of one tenant under way at once.
const MOST_OF_TENANT: usize = MOST / 4;

tokio::task_local! {
    static TENANT: TenantId;
}

/// Runs `work` for a tenant: look-ups made in it count as this tenant's.
pub async fn for_tenant<T>(tenant: TenantId, work: impl Future<Output = T>) -> T {
    TENANT.scope(tenant, work).await
}

/// Error for too many look-ups under way, in total or of this tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowded;

impl fmt::Display for Crowded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host's name was not looked up: too many look-ups are waiting for an answer already")
    }
}

impl std::error::Error for Crowded {}

type Answer = io::Result<Vec<SocketAddr>>;
type Find = dyn Fn(&str) -> Answer + Send + Sync;

/// Resolver with its look-ups under way. Cheap to clone: clones share them.
#[derive(Clone)]
pub struct Lookups {
    find: Arc<Find>,
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
}

/// Look-up under way, with its callers.
struct UnderWay {
    /// Tenant that it counts for. `None` for look-ups outside any tenant.
    tenant: Option<TenantId>,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Default for Lookups {
    /// Uses the system resolver.
    fn default() -> Self {
        Self::new(|name| (name, 0).to_socket_addrs().map(Iterator::collect))
    }
}

impl Lookups {
    pub fn new(find: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self { find: Arc::new(find), under_way: Arc::default() }
    }

    /// Returns the addresses of a name. Concurrent calls for the same name share one look-up.
    ///
    /// # Errors
    /// [`Crowded`], wrapped, without waiting; or the resolver's error.
    pub async fn find(&self, name: &str) -> Answer {
        let tenant = TENANT.try_with(|tenant| *tenant).ok();
        let (answer, is_answered) = oneshot::channel();
        if self.join(name, tenant, answer).map_err(io::Error::other)? {
            self.begin(name)?;
        }
        is_answered.await.map_err(|_| io::Error::other("the look-up ended badly"))?
    }

    /// Adds a caller to a name's look-up. Returns true if the caller must start it.
    fn join(&self, name: &str, tenant: Option<TenantId>, answer: oneshot::Sender<Answer>) -> Result<bool, Crowded> {
        let mut under_way = lock(&self.under_way);
        if let Some(one) = under_way.get_mut(name) {
            // Drop callers that have left, so that they do not pile up while the resolver hangs.
            one.waiting.retain(|waiting| !waiting.is_closed());
            one.waiting.push(answer);
            return Ok(false);
        }
        let of_tenant = under_way.values().filter(|one| one.tenant == tenant).count();
        if MOST <= under_way.len() || MOST_OF_TENANT <= of_tenant {
            return Err(Crowded);
        }
        under_way.insert(name.to_owned(), UnderWay { tenant, waiting: vec![answer] });
        Ok(true)
    }

    fn begin(&self, name: &str) -> io::Result<()> {
        let mut place = LookupSlot { name: name.to_owned(), under_way: Arc::clone(&self.under_way), answer: None };
        let find = Arc::clone(&self.find);
        let work = move || place.answer = Some(find(&place.name));
        thread::Builder::new().name("look-up".to_owned()).spawn(work)?;
        Ok(())
    }
}

/// Entry of a look-up among those under way. It is removed when the thread returns, not before.
struct LookupSlot {
    name: String,
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
    answer: Option<Answer>,
}

impl Drop for LookupSlot {
    /// Sends the result to all callers. Without a result, because the thread panicked or did not start, their channels
    /// close.
    fn drop(&mut self) {
        let left = lock(&self.under_way).remove(&self.name);
        let Some(answer) = &self.answer else { return };
        for waiting in left.into_iter().flat_map(|one| one.waiting) {
            // A caller that has left hit its deadline.
            let _ = waiting.send(copy(answer));
        }
    }
}

/// Copies a result. `io::Error` cannot be cloned.
fn copy(answer: &Answer) -> Answer {
    match answer {
        Ok(found) => Ok(found.clone()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Locks the map. A panic leaves no half-done change under this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Returns a resolver that hangs for all names but `well`, until the sender is dropped.
    fn silent() -> (Lookups, mpsc::Sender<()>) {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let find = move |name: &str| {
            if name != "well" {
                // All look-ups but one hang on this lock instead of the channel.
                let _ = lock(&gone).recv();
            }
            Ok(vec!["1.1.1.1:0".parse().unwrap()])
        };
        (Lookups::new(find), go)
    }

    async fn asked(lookups: &Lookups, tenant: i64, name: &str) -> Option<Answer> {
        timeout(Duration::from_millis(20), for_tenant(TenantId(tenant), lookups.find(name))).await.ok()
    }

    fn is_crowded(answer: Option<Answer>) -> bool {
        answer
            .is_some_and(|answer| answer.is_err_and(|error| error.get_ref().is_some_and(|inner| inner.is::<Crowded>())))
    }

    #[tokio::test]
    async fn hanging_names_of_one_tenant_do_not_block_others() {
        let (lookups, _go) = silent();
        for n in 0..MOST_OF_TENANT {
            assert!(asked(&lookups, 1, &format!("silent-{n}")).await.is_none());
        }
        assert!(is_crowded(asked(&lookups, 1, "silent").await), "at once, and not when its deadline is over");
        assert!(is_crowded(asked(&lookups, 1, "well").await));
        assert_eq!(asked(&lookups, 2, "well").await.unwrap().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn look_ups_are_bounded_even_when_all_callers_have_left() {
        let (lookups, go) = silent();
        for n in 0..MOST {
            let tenant = i64::try_from(n / MOST_OF_TENANT).unwrap();
            assert!(asked(&lookups, tenant, &format!("silent-{n}")).await.is_none());
        }
        assert!(is_crowded(asked(&lookups, 9, "well").await), "the waiting calls have ended, the threads have not");
        drop(go);
        // The hanging look-ups return one after the other.
        while is_crowded(asked(&lookups, 9, "well").await) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_look_up_of_a_name() {
        let (lookups, go) = silent();
        for _ in 0..MOST {
            assert!(asked(&lookups, 1, "silent").await.is_none());
        }
        let (one, other) = (lookups.find("silent"), lookups.find("silent"));
        drop(go);
        let (one, other) = tokio::join!(one, other);
        assert_eq!(one.unwrap(), other.unwrap());
        assert!(lock(&lookups.under_way).is_empty());
    }

    #[tokio::test]
    async fn errors_of_the_resolver_are_passed_on() {
        let lookups = Lookups::new(|_| Err(io::Error::new(io::ErrorKind::NotFound, "no such name")));
        let refused = lookups.find("nowhere").await.unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
    }
}

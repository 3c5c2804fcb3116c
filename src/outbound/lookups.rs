//! Look-ups of names, on threads of their own: one that hangs holds up nothing but who waits for it.
//!
//! The system's resolver can't be told to stop: whoever waits may go, the thread stays until it is answered. So what is
//! bounded is the threads, and of them what one tenant can hold.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use crate::domain::TenantId;

/// Look-ups under way at a time.
const MOST: usize = 64;
/// Those of one tenant among them.
const MOST_OF_TENANT: usize = MOST / 4;

tokio::task_local! {
    static TENANT: TenantId;
}

/// Runs `work` in the name of a tenant: what it makes look up counts as this tenant's.
pub async fn for_tenant<T>(tenant: TenantId, work: impl Future<Output = T>) -> T {
    TENANT.scope(tenant, work).await
}

/// Too many look-ups are under way, of all or of this tenant.
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

/// Cheap to clone: all clones share their threads.
#[derive(Clone)]
pub struct Lookups {
    find: Arc<Find>,
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
}

/// One look-up, and who waits for it.
struct UnderWay {
    /// None where it is nobody's in particular.
    tenant: Option<TenantId>,
    waiting: Vec<oneshot::Sender<Answer>>,
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

impl Default for Lookups {
    /// By the system's resolver.
    fn default() -> Self {
        Self::new(|name| (name, 0).to_socket_addrs().map(Iterator::collect))
    }
}

impl Lookups {
    pub fn new(find: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self { find: Arc::new(find), under_way: Arc::default() }
    }

    /// The addresses of a name. Who asks for one that is being looked up already waits for the same answer.
    ///
    /// # Errors
    /// [`Crowded`], inside, at once; or what the resolver says.
    pub async fn find(&self, name: &str) -> Answer {
        let tenant = TENANT.try_with(|tenant| *tenant).ok();
        let (answer, is_answered) = oneshot::channel();
        if self.join(name, tenant, answer).map_err(io::Error::other)? {
            self.begin(name)?;
        }
        is_answered.await.map_err(|_| io::Error::other("the look-up ended badly"))?
    }

    /// Waits for a name; whether nobody has until now.
    fn join(&self, name: &str, tenant: Option<TenantId>, answer: oneshot::Sender<Answer>) -> Result<bool, Crowded> {
        let mut under_way = lock(&self.under_way);
        if let Some(one) = under_way.get_mut(name) {
            // Those who have gone are not kept for as long as the resolver is silent.
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
        let mut place = Place { name: name.to_owned(), under_way: Arc::clone(&self.under_way), answer: None };
        let find = Arc::clone(&self.find);
        let work = move || place.answer = Some(find(&place.name));
        thread::Builder::new().name("look-up".to_owned()).spawn(work)?;
        Ok(())
    }
}

/// The place of a look-up among those under way: it is free again when its thread has come back, and not before.
struct Place {
    name: String,
    under_way: Arc<Mutex<HashMap<String, UnderWay>>>,
    answer: Option<Answer>,
}

impl Drop for Place {
    /// Tells who waits; where there is no answer, since its thread could not be started or has panicked, by going.
    fn drop(&mut self) {
        let left = lock(&self.under_way).remove(&self.name);
        let Some(answer) = &self.answer else { return };
        for waiting in left.into_iter().flat_map(|one| one.waiting) {
            // Who does not wait any more has run into a deadline.
            let _ = waiting.send(copy(answer));
        }
    }
}

/// Errors of the system can't be cloned.
fn copy(answer: &Answer) -> Answer {
    match answer {
        Ok(found) => Ok(found.clone()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Nothing is left half done under this lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// A resolver that is silent for all names but `well`, until it is let go.
    fn silent() -> (Lookups, mpsc::Sender<()>) {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let find = move |name: &str| {
            if name != "well" {
                // Whoever waits for this lock is as silent as whoever holds it.
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
    async fn a_tenant_whose_names_hang_fills_its_own_part_and_others_are_answered() {
        let (lookups, _go) = silent();
        for n in 0..MOST_OF_TENANT {
            assert!(asked(&lookups, 1, &format!("silent-{n}")).await.is_none());
        }
        assert!(is_crowded(asked(&lookups, 1, "silent").await), "at once, and not when its deadline is over");
        assert!(is_crowded(asked(&lookups, 1, "well").await));
        assert_eq!(asked(&lookups, 2, "well").await.unwrap().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn no_more_than_there_is_room_for_are_under_way_though_nobody_waits() {
        let (lookups, go) = silent();
        for n in 0..MOST {
            let tenant = i64::try_from(n / MOST_OF_TENANT).unwrap();
            assert!(asked(&lookups, tenant, &format!("silent-{n}")).await.is_none());
        }
        assert!(is_crowded(asked(&lookups, 9, "well").await), "whoever waited has gone, the threads have not");
        drop(go);
        // They come back one after the other.
        while is_crowded(asked(&lookups, 9, "well").await) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_name_is_looked_up_once_for_all_who_ask() {
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
    async fn what_the_resolver_says_is_handed_on() {
        let lookups = Lookups::new(|_| Err(io::Error::new(io::ErrorKind::NotFound, "no such name")));
        let refused = lookups.find("nowhere").await.unwrap_err();
        assert_eq!((refused.kind(), refused.to_string().as_str()), (io::ErrorKind::NotFound, "no such name"));
    }
}

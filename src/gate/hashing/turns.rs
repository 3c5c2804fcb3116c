//! Fair queue for a scarce resource: known requesters go first, all others in order of arrival.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

/// Requester of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requester {
    /// Account with proof of an earlier sign-in: a session, a token or a link. Only one request per account goes first
    /// at a time, so that no account can crowd out the others.
    Known(String),
    Unknown,
}

/// Queue that hands out a fixed number of turns at a time.
#[derive(Debug)]
pub struct Turns(Mutex<Queues>);

#[derive(Debug)]
struct Queues {
    free: usize,
    known: VecDeque<(String, oneshot::Sender<Turn>)>,
    /// Accounts that have a request in `known`.
    accounts: HashSet<String>,
    unknown: VecDeque<oneshot::Sender<Turn>>,
}

/// Turn at the resource. Dropping it passes the turn on to the next requester.
#[derive(Debug)]
pub struct Turn(Option<Arc<Turns>>);

impl Turns {
    pub fn new(at_once: usize) -> Arc<Self> {
        let (known, accounts, unknown) = (VecDeque::new(), HashSet::new(), VecDeque::new());
        Arc::new(Self(Mutex::new(Queues { free: at_once, known, accounts, unknown })))
    }

    /// Waits for a turn. Returns `None` if it does not come in time.
    pub async fn wait(self: &Arc<Self>, requester: &Requester, patience: Duration) -> Option<Turn> {
        let turn = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(left) = queues.free.checked_sub(1) {
                queues.free = left;
                return Some(Turn(Some(Arc::clone(self))));
            }
            queues.enter(requester)
        };
        // A turn that comes too late is dropped with the receiver, and so goes to the next requester.
        timeout(patience, turn).await.ok()?.ok()
    }

    fn pass_on(self: Arc<Self>) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turn = Turn(Some(Arc::clone(&self)));
        while let Some(next) = queues.next() {
            match next.send(turn) {
                Ok(()) => return,
                // The requester no longer waits.
                Err(back) => turn = back,
            }
        }
        turn.0 = None;
        queues.free += 1;
    }
}

impl Queues {
    fn enter(&mut self, requester: &Requester) -> oneshot::Receiver<Turn> {
        let (sender, turn) = oneshot::channel();
        match requester {
            Requester::Known(account) if self.accounts.insert(account.clone()) => {
                self.known.push_back((account.clone(), sender));
            }
            _ => self.unknown.push_back(sender),
        }
        turn
    }

    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let Some((account, sender)) = self.known.pop_front() else { return self.unknown.pop_front() };
        self.accounts.remove(&account);
        Some(sender)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::{LocalBoxFuture, join_all};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn known(account: &str) -> Requester {
        Requester::Known(account.to_owned())
    }

    /// Returns the names of these requesters in the order of their turns, when all ask while the only turn is taken.
    async fn order(requesters: &[(&'static str, Requester)]) -> Vec<&'static str> {
        let turns = Turns::new(1);
        let taken = turns.wait(&Requester::Unknown, PATIENCE).await;
        let order = Mutex::new(Vec::new());
        let mut waiting: Vec<LocalBoxFuture<'_, ()>> = Vec::new();
        for (name, requester) in requesters {
            let (turns, order) = (&turns, &order);
            let mut one = async move {
                let _turn = turns.wait(requester, PATIENCE).await.unwrap();
                order.lock().unwrap().push(*name);
            }
            .boxed_local();
            assert!((&mut one).now_or_never().is_none(), "{name} waits");
            waiting.push(one);
        }
        drop(taken);
        join_all(waiting).await;
        order.into_inner().unwrap()
    }

    #[tokio::test]
    async fn known_requesters_go_first_and_others_in_the_order_of_asking() {
        let all = [
            ("one", Requester::Unknown),
            ("two", Requester::Unknown),
            ("ada", known("ada")),
            ("three", Requester::Unknown),
            ("dan", known("dan")),
        ];
        assert_eq!(order(&all).await, ["ada", "dan", "one", "two", "three"]);
    }

    #[tokio::test]
    async fn an_account_goes_first_with_one_request_at_a_time() {
        let all = [("one", Requester::Unknown), ("ada", known("ada")), ("again", known("ada")), ("dan", known("dan"))];
        assert_eq!(order(&all).await, ["ada", "dan", "one", "again"]);
    }

    #[tokio::test]
    async fn a_turn_of_a_requester_who_left_goes_to_the_next() {
        let turns = Turns::new(1);
        let taken = turns.wait(&Requester::Unknown, PATIENCE).await;
        for requester in [known("ada"), Requester::Unknown] {
            assert!(turns.wait(&requester, PATIENCE).now_or_never().is_none());
        }
        drop(taken);
        assert!(turns.wait(&known("ada"), PATIENCE).now_or_never().flatten().is_some());
    }

    #[tokio::test]
    async fn a_turn_that_does_not_come_in_time_is_none() {
        let turns = Turns::new(1);
        let _taken = turns.wait(&Requester::Unknown, PATIENCE).await;
        assert!(turns.wait(&known("ada"), Duration::from_millis(1)).await.is_none());
    }
}

//! The transaction that services work in: a connection, the time, and the changes to announce.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use diesel::Connection;
use diesel::pg::PgConnection;

use super::db::Scope;
use super::notify::{self, Change};
use crate::domain::Result;

/// Open transaction. It dereferences to its connection, so that every query of the store takes it.
pub struct Tx<'a> {
    conn: &'a mut PgConnection,
    /// Time of the whole transaction: each row that it writes carries the same one.
    pub now: DateTime<Utc>,
    changes: Vec<Change>,
}

impl<'a> Tx<'a> {
    pub(super) fn new(conn: &'a mut PgConnection, now: DateTime<Utc>) -> Self {
        Self { conn, now, changes: Vec::new() }
    }

    /// Runs `work` in a transaction on this connection. Every process hears of its changes after the commit.
    pub fn run<T>(
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        conn.transaction(|conn| {
            let mut tx = Tx::new(conn, now);
            let value = work(&mut tx)?;
            tx.send_changes()?;
            Ok(value)
        })
    }

    /// Runs `work` in a transaction that cannot write and sees one moment.
    pub fn read<T>(
        conn: &mut PgConnection,
        now: DateTime<Utc>,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        conn.build_transaction().read_only().repeatable_read().run(|conn| work(&mut Tx::new(conn, now)))
    }

    /// Limits the rest of the transaction to a scope.
    pub fn enter(&mut self, scope: Scope) -> Result<()> {
        Ok(scope.enter(self)?)
    }

    /// Makes every process drop what it caches of the changed object, once this transaction commits.
    pub fn announce(&mut self, change: Change) {
        // Work on many rows often announces the same change for each of them.
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    /// Announces several changes.
    pub fn announce_all(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|change| self.announce(change));
    }

    /// Changes that were announced so far.
    pub fn announced(&self) -> &[Change] {
        &self.changes
    }

    /// Sends the announced changes to the other processes, which receive them with the commit.
    pub(super) fn send_changes(&mut self) -> Result<Vec<Change>> {
        let changes = std::mem::take(&mut self.changes);
        notify::send_all(self, &changes)?;
        Ok(changes)
    }
}

impl Deref for Tx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.conn
    }
}

/// Function that a process calls for each change after the commit, so that its own caches are right before it responds.
#[derive(Clone, Default)]
pub struct ChangeListener(Arc<OnceLock<Listener>>);

type Listener = Box<dyn Fn(&Change) + Send + Sync>;

impl ChangeListener {
    /// Sets the function. Only the first one counts.
    pub fn set(&self, hear: impl Fn(&Change) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(hear));
    }

    pub(super) fn hear_all(&self, changes: &[Change]) {
        if let Some(hear) = self.0.get() {
            changes.iter().for_each(hear);
        }
    }
}

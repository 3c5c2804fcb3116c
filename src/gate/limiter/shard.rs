//! One shard of the counts: what each tenant has in it, and how much more it may have.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Counted, Held, Subject};
use crate::domain::limit::Window;
use crate::domain::{Error, Result, TenantId};

/// How often a shard without room is searched for what is idle: a search reads all of it.
const BETWEEN_SEARCHES: TimeDelta = TimeDelta::seconds(1);

#[derive(Debug, Default)]
pub struct Shard {
    counted: HashMap<Subject, Counted>,
    /// How many of them are whose.
    by_tenant: HashMap<TenantId, usize>,
    searched_at: Option<DateTime<Utc>>,
}

impl Shard {
    pub fn knows(&self, subject: Subject) -> bool {
        self.counted.contains_key(&subject)
    }

    pub fn find(&mut self, subject: Subject) -> Option<&mut Counted> {
        self.counted.get_mut(&subject)
    }

    /// What is counted of it, under the limit that it is held to now.
    pub fn adopted(&mut self, held: Held) -> Option<&mut Counted> {
        let counted = self.counted.get_mut(&held.subject)?;
        if counted.window.limit() != held.limit {
            counted.window.adopt(held.limit);
        }
        Some(counted)
    }

    /// The same, begun if it is new, where there is room: see [`Shard::make_room`].
    pub fn begun(&mut self, held: Held) -> Option<&mut Counted> {
        if !self.knows(held.subject) {
            self.insert(held, Counted::own(held.tenant, Window::new(held.limit), 0));
        }
        self.adopted(held)
    }

    /// Where there is room: see [`Shard::make_room`].
    pub fn insert(&mut self, held: Held, counted: Counted) {
        if self.counted.insert(held.subject, counted).is_none() {
            *self.by_tenant.entry(held.tenant).or_default() += 1;
        }
    }

    /// Room for those of these that are new; all are of one tenant. Nothing that counts gives way: it would be counted from
    /// nothing again.
    ///
    /// # Errors
    /// `Unavailable` where the tenant has as many here as are free: of those that take all they get, each has the same,
    /// and as much is left for others.
    pub fn make_room<'h>(
        &mut self,
        held: impl Iterator<Item = &'h Held> + Clone,
        most: usize,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if self.has_room(held.clone(), most) {
            return Ok(());
        }
        if self.searched_at.is_none_or(|at| BETWEEN_SEARCHES <= (now - at).abs()) {
            self.searched_at = Some(now);
            self.forget_idle(now);
            if self.has_room(held, most) {
                return Ok(());
            }
        }
        Err(Error::unavailable("too many limits of this tenant are being counted"))
    }

    fn has_room<'h>(&self, held: impl Iterator<Item = &'h Held>, most: usize) -> bool {
        let mut new = held.filter(|one| !self.knows(one.subject));
        let Some(first) = new.next() else { return true };
        // As the last of them finds it.
        let before = new.count();
        let own = self.by_tenant.get(&first.tenant).copied().unwrap_or(0);
        own + before < most.saturating_sub(self.counted.len() + before)
    }

    fn forget_idle(&mut self, now: DateTime<Utc>) {
        self.counted.retain(|_, counted| !counted.window.is_idle(now));
        self.by_tenant.clear();
        for counted in self.counted.values() {
            *self.by_tenant.entry(counted.tenant).or_default() += 1;
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.counted.len()
    }
}

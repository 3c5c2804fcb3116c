//! Shard of the rate limiter: the counts of its subjects, and room per tenant.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Counted, LimitSubject, Subject};
use crate::domain::limit::Window;
use crate::domain::{Error, Result, TenantId};

/// Pause between two searches of a full shard for idle subjects. A search reads the whole shard.
const BETWEEN_SEARCHES: TimeDelta = TimeDelta::seconds(1);

/// Counts of one shard.
#[derive(Debug, Default)]
pub struct Shard {
    counted: HashMap<Subject, Counted>,
    /// Number of subjects by tenant.
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

    /// Returns the counts of a subject, adapted to its current limit.
    pub fn adopted(&mut self, held: LimitSubject) -> Option<&mut Counted> {
        let counted = self.counted.get_mut(&held.subject)?;
        if counted.window.limit() != held.limit {
            counted.window.adopt(held.limit);
        }
        Some(counted)
    }

    /// Returns the counts of a subject, inserted if it is new. Call [`Shard::make_room`] first.
    pub fn begun(&mut self, held: LimitSubject) -> Option<&mut Counted> {
        if !self.knows(held.subject) {
            self.insert(held, Counted::own(held.tenant, Window::new(held.limit), 0));
        }
        self.adopted(held)
    }

    /// Inserts counts. Call [`Shard::make_room`] first.
    pub fn insert(&mut self, held: LimitSubject, counted: Counted) {
        if self.counted.insert(held.subject, counted).is_none() {
            *self.by_tenant.entry(held.tenant).or_default() += 1;
        }
    }

    /// Makes room for the new subjects among these, all of one tenant. Never evicts active counts, since they would
    /// restart from zero.
    ///
    /// # Errors
    /// `Unavailable` if the tenant already has as many subjects here as are free. Tenants that take all they can then
    /// get equal shares, and one more share stays free.
    pub fn make_room<'h>(
        &mut self,
        held: impl Iterator<Item = &'h LimitSubject> + Clone,
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

    fn has_room<'h>(&self, held: impl Iterator<Item = &'h LimitSubject>, most: usize) -> bool {
        let mut new = held.filter(|one| !self.knows(one.subject));
        let Some(first) = new.next() else { return true };
        // Check room for the last new subject, with the others counted as inserted.
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

//! Keys closest to their rate limits, by the counts that this process has.

use std::sync::Arc;

use super::cache::Entry;
use super::{Gate, KnownKey, NamedStanding};
use crate::domain::TenantId;

/// Maximum number of cached keys to search, so that a page can wait for it.
const MOST_LOOKED_AT: usize = 10_000;

/// Key with the one of its limits that is used the most.
#[derive(Debug)]
pub struct NearLimit {
    pub key: Arc<Entry<KnownKey>>,
    pub limit: NamedStanding,
}

impl NamedStanding {
    pub fn used(&self) -> u64 {
        self.standing.limit.quota.saturating_sub(self.standing.remaining)
    }

    /// Returns the used part of a limit in whole percent. A limit of zero counts as 100 %.
    pub fn percent(&self) -> u64 {
        (self.used().saturating_mul(100)).checked_div(self.standing.limit.quota).unwrap_or(100)
    }
}

impl Gate {
    /// Returns up to `most` keys of a tenant that have used some of a limit, the fullest first.
    pub fn nearest_to_limits(&self, tenant: TenantId, most: usize) -> Vec<NearLimit> {
        let now = self.clock.now();
        let known = self.keys.all_where(|known| known.key.tenant_id == tenant, MOST_LOOKED_AT);
        let near = |key: Arc<Entry<KnownKey>>| {
            let standings = key.value.named(self.counting.glance(&key.value.held, now));
            let limit = standings.into_iter().filter(|named| 0 < named.used()).max_by_key(NamedStanding::percent)?;
            Some(NearLimit { key, limit })
        };
        let mut all: Vec<_> = known.into_iter().filter_map(near).collect();
        all.sort_by_key(|near| (std::cmp::Reverse((near.limit.percent(), near.limit.used())), near.key.value.key.id));
        all.truncate(most);
        all
    }
}

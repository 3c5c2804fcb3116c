//! How often each outcome came up, for `/metrics`.

use std::sync::OnceLock;

use metrics::Counter;

use crate::domain::usage::Outcome;

/// Looked up in the registry once: that takes longer than to count.
#[derive(Default)]
pub struct Counters([OnceLock<Counter>; Outcome::ALL.len()]);

impl Counters {
    pub fn count(&self, outcome: Outcome) {
        let made = || metrics::counter!("gatepost_verifications_total", "outcome" => outcome.as_str());
        let slot = Outcome::ALL.iter().position(|one| *one == outcome).and_then(|at| self.0.get(at));
        match slot {
            Some(slot) => slot.get_or_init(made).increment(1),
            None => made().increment(1),
        }
    }
}

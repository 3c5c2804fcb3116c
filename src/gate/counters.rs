//! Counters of verification outcomes for `/metrics`.

use metrics::Counter;

use crate::domain::usage::Outcome;

/// Counters by outcome. Looked up in the registry once, since a look-up takes longer than an increment.
pub struct Counters(Vec<(Outcome, Counter)>);

impl Counters {
    pub fn new() -> Self {
        metrics::describe_counter!("gatepost_verifications_total", "Decisions about keys, by their outcome");
        let of = |outcome: Outcome| metrics::counter!("gatepost_verifications_total", "outcome" => outcome.as_str());
        Self(Outcome::ALL.iter().map(|outcome| (*outcome, of(*outcome))).collect())
    }

    pub fn count(&self, outcome: Outcome) {
        if let Some((_, counter)) = self.0.iter().find(|(known, _)| *known == outcome) {
            counter.increment(1);
        }
    }
}

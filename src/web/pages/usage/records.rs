//! Log of verifications, with the reason of each refusal.

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::page;
use super::super::paging::PagePlace;
use super::view::{Records, Row};
use super::{millis, words};
use crate::domain::usage::{Outcome, RecordPlace};
use crate::domain::{FieldErrors, Permission};
use crate::model::UsageLog;
use crate::services::usage::{self, LogFilter};
use crate::store::Scope;
use crate::web::auth::SignedIn;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Choice, Pager, Tone, When, filter, text};

const ROWS: i64 = 50;
/// Option for all outcomes except valid.
const REFUSED: &str = "refused";

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    request: String,
    key: String,
    outcome: String,
    #[serde(flatten)]
    place: PagePlace,
}

impl Listing {
    /// Returns the filter, and an error for each invalid parameter.
    fn filter(&self) -> (LogFilter, FieldErrors) {
        let mut ignored = self.place.noted::<RecordPlace>();
        let is_refused = self.outcome == REFUSED;
        let outcome = if is_refused { "" } else { &self.outcome };
        let filter = LogFilter {
            key: filter::read(&mut ignored, "key", &self.key, str::parse),
            outcome: filter::read(&mut ignored, "outcome", outcome, str::parse),
            is_refused,
            request: filter::text(&self.request),
            ..LogFilter::default()
        };
        (filter, ignored)
    }

    fn parameters(&self) -> [(&'static str, &str); 3] {
        [("request", self.request.trim()), ("key", self.key.trim()), ("outcome", &self.outcome)]
    }
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadUsage)?;
    let ((filter, ignored), now) = (asked.filter(), state.clock.now());
    let paging = asked.place.paging::<RecordPlace>(ROWS);
    who.shell.note_ignored(&ignored);
    let scope = Scope::Tenant(who.shell.tenant.id);
    // Flush the buffer: a user who looks for a call has often just made it.
    state.gate.flush().await;
    let found = state.reports.read(scope, move |tx| usage::records(tx, scope, &filter, &paging)).await?;
    let set = asked.parameters();
    page(&Records {
        pager: Pager::new(urls::USAGE_RECORDS, &set, &found),
        chips: filter::chips(urls::USAGE_RECORDS, &set, |name, value| (text::label(name), value.to_owned())),
        outcomes: outcomes(&asked.outcome),
        rows: found.rows.into_iter().map(|record| row(record, now)).collect(),
        request: asked.request,
        key: asked.key,
        shell: who.shell,
    })
}

fn outcomes(chosen: &str) -> Vec<Choice> {
    let any = [Choice::new("", "Any", chosen), Choice::new(REFUSED, "Refused", chosen)];
    let each = Outcome::ALL.iter().map(|outcome| Choice::new(outcome.as_str(), words(outcome.as_str()), chosen));
    any.into_iter().chain(each).collect()
}

/// Returns a record as a row of the list.
pub fn row(record: UsageLog, now: DateTime<Utc>) -> Row {
    let (tone, icon) = match record.outcome {
        Outcome::Valid => (Tone::Good, "check"),
        Outcome::RateLimited | Outcome::QuotaExceeded => (Tone::Warn, "clock"),
        _ => (Tone::Bad, "stop"),
    };
    let micros = u32::try_from(record.duration_us).unwrap_or(u32::MAX);
    Row {
        at: When::new(record.created_at, now),
        outcome: Badge::new(tone, icon, words(record.outcome.as_str())),
        reason: record.reason.as_deref().map(text::sentence).unwrap_or_default(),
        key_id: record.api_key_id.map(|key| key.0),
        method: record.method,
        endpoint: record.endpoint,
        status: record.status,
        address: record.ip.unwrap_or_default(),
        duration: millis(f64::from(micros) / 1000.0),
        href: filter::href(urls::USAGE_RECORDS, &[("request", &record.request_id)]),
        request_id: record.request_id,
    }
}

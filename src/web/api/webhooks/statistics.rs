//! `/api/webhooks/{id}/statistics`: how a webhook has been doing.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{actor, parse_id};
use crate::domain::usage::floor_to;
use crate::domain::{Error, Noun, WebhookId};
use crate::services::figures;
use crate::services::webhooks::{self, MOST_COUNTED};
use crate::store::delivery_totals::Finished;
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::NoParameters;
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Debug, Serialize)]
struct StatisticsBody {
    webhook_id: WebhookId,
    /// Attempts that were looked at: the latest thousand, no older than a week.
    attempts: i64,
    /// True if there may be more attempts than were looked at.
    attempts_are_capped: bool,
    successes: i64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    last_failure_at: Option<DateTime<Utc>>,
    last_failure: Option<String>,
    /// Deliveries that wait, counted up to a thousand.
    waiting: i64,
    /// True if more wait than were counted.
    waiting_is_capped: bool,
    /// When the next of them is due.
    next_attempt_at: Option<DateTime<Utc>>,
    /// Since when its host has not answered: one request goes there at a time then.
    unreachable_since: Option<DateTime<Utc>>,
    hours: Vec<HourBody>,
}

/// Deliveries that ended in an hour.
#[derive(Debug, Serialize)]
struct HourBody {
    at: DateTime<Utc>,
    delivered: i64,
    failed: i64,
    cancelled: i64,
}

/// The latest attempts, what waits, and the hours of the last day.
pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let actor = actor(&bearer, id).await?;
    let scope = Scope::Tenant(actor.tenant);
    let read = move |tx: &mut Tx<'_>| {
        webhooks::find(tx, &actor, id)?;
        let since = floor_to(now, 3_600) - TimeDelta::hours(23);
        let tally = figures::deliveries(tx, &actor, Some(id), since, 3_600)?;
        Ok((webhooks::stats(tx, scope, &[id])?.pop(), tally))
    };
    let (stats, tally) = state.api.read(scope, read).await?;
    let stats = stats.ok_or(Error::NotFound(Noun::Webhook))?;
    let hour = |row: &Finished| HourBody {
        at: row.at,
        delivered: row.delivered,
        failed: row.failed,
        cancelled: row.cancelled,
    };
    Ok(HttpResponse::Ok().json(StatisticsBody {
        webhook_id: id,
        attempts: stats.attempts,
        attempts_are_capped: MOST_COUNTED <= stats.attempts,
        successes: stats.successes,
        p50_ms: stats.p50_ms,
        p95_ms: stats.p95_ms,
        last_failure_at: stats.last_failure_at,
        last_failure: stats.last_failure,
        waiting: stats.waiting.min(MOST_COUNTED),
        waiting_is_capped: MOST_COUNTED < stats.waiting,
        next_attempt_at: stats.next_attempt_at,
        unreachable_since: stats.unreachable_since,
        hours: tally.finished.iter().map(hour).collect(),
    }))
}

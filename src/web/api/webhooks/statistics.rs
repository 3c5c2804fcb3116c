//! `/api/webhooks/{id}/statistics`: success rate, latency and waiting deliveries of a webhook.

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

/// Statistics of a webhook.
#[derive(Debug, Serialize)]
struct StatisticsBody {
    /// Id of the webhook.
    webhook_id: WebhookId,
    /// Number of attempts evaluated: the latest 1,000, at most a week old.
    attempts: i64,
    /// True if there may be more attempts than were evaluated.
    attempts_are_capped: bool,
    /// Number of successful attempts.
    successes: i64,
    /// Median duration in milliseconds.
    p50_ms: Option<f64>,
    /// 95th percentile of the duration in milliseconds.
    p95_ms: Option<f64>,
    /// When an attempt last failed (UTC).
    last_failure_at: Option<DateTime<Utc>>,
    /// Description of the last failure.
    last_failure: Option<String>,
    /// Number of waiting deliveries, counted up to 1,000.
    waiting: i64,
    /// True if more deliveries wait than were counted.
    waiting_is_capped: bool,
    /// When the next of these deliveries is due (UTC).
    next_attempt_at: Option<DateTime<Utc>>,
    /// Since when the host has not responded (UTC). Meanwhile only one request at a time is sent there.
    unreachable_since: Option<DateTime<Utc>>,
    /// Finished deliveries per hour of the last day.
    hours: Vec<HourBody>,
}

/// Deliveries that finished within one hour.
#[derive(Debug, Serialize)]
struct HourBody {
    /// Start of the hour (UTC).
    at: DateTime<Utc>,
    /// Number of successful deliveries.
    delivered: i64,
    /// Number of failed deliveries.
    failed: i64,
    /// Number of cancelled deliveries.
    cancelled: i64,
}

/// Returns figures of the latest attempts, of waiting deliveries and of each hour of the last day.
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

//! Liveness, readiness and metrics of this process.

use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;

use crate::domain::{Error, Noun};
use crate::services::readiness::Reason;
use crate::web::client;
use crate::web::problem::{Answer, Problem};
use crate::web::state::State;

/// Responds 200 while the process runs.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// Responds whether this process can serve requests, and if not, why. Reads cached check results and never waits for
/// the database.
pub async fn ready(state: Data<State>) -> Answer {
    let mut reasons = state.readiness.reasons(Instant::now());
    if state.gate.must_be_able().is_err() {
        reasons.push(Reason::LIMITS);
    }
    let redis = state.gate.has_shared_limits().map(|is_up| if is_up { "up" } else { "away" });
    if reasons.is_empty() {
        return Ok(HttpResponse::Ok().json(Ready { status: "ready", redis }));
    }
    Err(unready(&reasons, redis).into())
}

fn unready(reasons: &[Reason], redis: Option<&str>) -> Problem {
    let says: Vec<_> = reasons.iter().map(|reason| reason.detail).collect();
    let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", says.join("; "));
    if reasons.iter().all(|reason| reason.can_pass()) {
        problem = problem.header(RETRY_AFTER, "2");
    }
    let each = reasons.iter().map(|reason| json!({"code": reason.code, "detail": reason.detail}));
    problem.extra.insert("reasons".to_owned(), each.collect());
    problem.extra.extend(redis.map(|redis| ("redis".to_owned(), redis.into())));
    problem
}

/// Response of a ready process.
#[derive(Serialize)]
struct Ready {
    /// Always `ready`.
    status: &'static str,
    /// State of Redis, `up` or `away`. Present only with `REDIS_URL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

/// Responds with metrics in Prometheus' text format, only to programs on this machine.
pub async fn metrics(request: HttpRequest, state: Data<State>) -> Answer {
    // Respond 404 instead of 403, so that the endpoint stays unknown to others.
    if !client::is_on_this_machine(request.head()) {
        return Err(Error::NotFound(Noun::Page).into());
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(state.metrics.render()))
}

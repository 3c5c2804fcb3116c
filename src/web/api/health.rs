//! Is the process up, can it work, and how is it doing.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;

use crate::domain::{Error, Noun};
use crate::store::{Scope, fitness};
use crate::web::client;
use crate::web::problem::Answer;
use crate::web::state::State;

/// The process answers.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// The database can serve requests, and calls with keys can be counted.
pub async fn ready(state: Data<State>) -> Answer {
    // A repair is committed, whatever the answer is.
    let checked = state.api.tx(Scope::Instance, |conn| Ok(fitness::check_then_repair(conn))).await?;
    checked.map_err(Error::unavailable)?;
    state.gate.must_be_able()?;
    let redis = state.gate.has_shared_limits().map(|is_up| if is_up { "up" } else { "away" });
    Ok(HttpResponse::Ok().json(Ready { status: "ready", redis }))
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    /// Where one is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<&'static str>,
}

/// Prometheus' text format, for this machine alone.
pub async fn metrics(request: HttpRequest, state: Data<State>) -> Answer {
    let is_near = client::address(request.head(), &state.settings.trusted_proxies).is_some_and(|ip| ip.is_loopback());
    let is_forwarded = request.headers().contains_key("x-forwarded-for");
    if !is_near || is_forwarded {
        return Err(Error::NotFound(Noun::Page).into());
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(state.metrics.render()))
}

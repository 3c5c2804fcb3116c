//! Is the process up, can it work, and how is it doing.

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::domain::{Error, Noun};
use crate::store::{Scope, migrations};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::client;

/// The process answers.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok", "version": env!("CARGO_PKG_VERSION")}))
}

/// The database answers and has this version's tables.
pub async fn ready(state: Data<State>) -> Answer {
    let pending = state.api.read(Scope::Instance, migrations::count_pending).await?;
    if 0 < pending {
        return Err(Error::unavailable(format!("{pending} migrations are pending")).into());
    }
    Ok(HttpResponse::Ok().json(json!({"status": "ready"})))
}

/// Prometheus' text format, for this machine or for an instance token with `instance:read`.
pub async fn metrics(request: HttpRequest, state: Data<State>) -> Answer {
    let is_near = client::address(&request, &state.settings.trusted_proxies).is_some_and(|ip| ip.is_loopback());
    let is_forwarded = request.headers().contains_key("x-forwarded-for");
    if !(is_near && !is_forwarded) && !state.is_operators_token(request.headers().get(AUTHORIZATION)).await {
        return Err(Error::NotFound(Noun::Page).into());
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(state.metrics.render()))
}

//! Middleware around every request and response. It is one middleware, since each further one would cost every request
//! two allocations.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;
use tracing::Instrument;

use super::error_pages::{self, ErrorContext};
use super::request_id::{self, RequestId};
use super::state::State;
use super::{device, forward_auth, headers, key_auth};

/// Assigns the request's id and tracing span, then runs the request.
pub async fn pass(
    state: Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::assign(&request, state.clock.now());
    let span = request_id::span(&request, id);
    match span.is_disabled() {
        true => answer(&state, request, next, id).await,
        false => answer(&state, request, next, id).instrument(span).await,
    }
}

/// Runs the request, prints its problem, records the key's usage and adds the headers of every response.
async fn answer(
    state: &State,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    id: RequestId,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let start = Instant::now();
    let asker = ErrorContext::of(request.head(), id);
    // Gateways pass these headers on for another host, so none of this instance's are added.
    let is_ours = !forward_auth::is_asked(request.path());
    let mut response = match next.call(request).await {
        Ok(response) => error_pages::print(response.map_into_boxed_body(), &asker),
        Err(error) => {
            let mut refusal = error_pages::refusal_of_middleware(&error, &asker);
            headers::add(state, refusal.headers_mut());
            headers::close_if_stopping(state, refusal.head_mut());
            return Err(error_pages::as_error(error, refusal));
        }
    };
    key_auth::account(state, &mut response, start);
    device::add_cookie(response.response_mut());
    if is_ours {
        headers::add(state, response.headers_mut());
    }
    headers::close_if_stopping(state, response.response_mut().head_mut());
    tracing::debug!(status = response.status().as_u16(), micros = start.elapsed().as_micros(), "answered");
    Ok(response)
}

//! Security headers on every answer.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::forward_auth;
use super::state::State;

static FIXED: [(HeaderName, HeaderValue); 8] = [
    (
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
    (HeaderName::from_static("referrer-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
    (HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY")),
    (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex")),
];

/// Adds what a handler has not set itself. Not to what gateways pass on: there it would speak for another host.
pub async fn add(
    state: Data<State>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let is_for_others = forward_auth::is_asked(request.path());
    let mut response = next.call(request).await?;
    if is_for_others {
        return Ok(response);
    }
    let headers = response.headers_mut();
    for (name, value) in &FIXED {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if state.is_https() {
        let lasting = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(HeaderName::from_static("strict-transport-security"), lasting);
    }
    Ok(response)
}

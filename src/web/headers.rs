//! Security headers for every response.

use actix_web::dev::ResponseHead;
use actix_web::http::ConnectionType;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};

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

/// Adds the headers that a JSON response needs: browsers must not treat it as a document. The full set would add
/// weight to every verification.
pub fn add_to_data(state: &State, headers: &mut HeaderMap) {
    static SNIFFING: [(HeaderName, HeaderValue); 2] = [
        (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff")),
        (
            HeaderName::from_static("content-security-policy"),
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ),
    ];
    for (name, value) in &SNIFFING {
        headers.insert(name.clone(), value.clone());
    }
    add_transport(state, headers);
}

/// Adds the security headers that a handler has not set itself.
pub fn add(state: &State, headers: &mut HeaderMap) {
    for (name, value) in &FIXED {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    add_transport(state, headers);
}

/// Closes the connection after this response while the server stops, so that clients connect elsewhere.
pub fn close_if_stopping(state: &State, head: &mut ResponseHead) {
    if state.readiness.is_stopping() {
        head.set_connection_type(ConnectionType::Close);
    }
}

fn add_transport(state: &State, headers: &mut HeaderMap) {
    if state.is_https() {
        let lasting = HeaderValue::from_static("max-age=31536000; includeSubDomains");
        headers.insert(STRICT_TRANSPORT_SECURITY, lasting);
    }
}

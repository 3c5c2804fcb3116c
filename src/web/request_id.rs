//! A request's id and its span in the trace. The query stays out of both: it may hold a key.

use std::fmt;

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest};
use tracing::Span;
use uuid::Uuid;

/// What a request is called in answers, logs and audit entries.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(Uuid);

impl RequestId {
    /// Gives a request its id: a UUIDv7 (RFC 9562 §5.7), so that those of one time stand side by side in an index, and
    /// writing a busy hour's touches few of its pages.
    pub fn assign(request: &ServiceRequest) -> Self {
        let id = Self(Uuid::now_v7());
        request.extensions_mut().insert(id);
        id
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
    }
}

/// The id as it is printed.
pub fn request_id(request: &HttpRequest) -> String {
    let id = request.extensions().get::<RequestId>().copied();
    id.map_or_else(String::new, |id| id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned())
}

/// One a request: method, route pattern and id. What stands inside is worked out only where the trace is on.
pub fn span(request: &ServiceRequest, id: RequestId) -> Span {
    tracing::debug_span!(
        "request",
        method = %request.method(),
        route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned()),
        request_id = %id
    )
}

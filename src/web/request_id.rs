//! Request id and tracing span. Neither contains the query, since it may hold an API key.

use std::fmt;

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest};
use chrono::{DateTime, Utc};
use tracing::Span;
use uuid::fmt::Hyphenated;
use uuid::{NoContext, Timestamp, Uuid};

/// Id of a request in responses, logs and audit entries.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(Uuid);

impl RequestId {
    /// Creates a UUIDv7 (RFC 9562 §5.7) for a request that begins now. Its timestamp locates the request's records
    /// (`domain::usage::began_at`). Ids of the same moment are not ordered: no code needs the order, and a shared
    /// counter would make all threads contend.
    pub fn make(now: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        Self(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos())))
    }

    /// Creates an id and stores it in the request's extensions.
    pub fn assign(request: &ServiceRequest, now: DateTime<Utc>) -> Self {
        let id = Self::make(now);
        request.extensions_mut().insert(id);
        id
    }

    /// Returns the request's id. [`RequestId::assign`] has run before any route is reached.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or(Self(Uuid::nil()))
    }

    /// Returns a buffer for [`RequestId::encoded`].
    pub const fn room() -> [u8; Hyphenated::LENGTH] {
        [0; Hyphenated::LENGTH]
    }

    /// Writes the id into the buffer and returns it as text.
    pub fn encoded(self, room: &mut [u8; Hyphenated::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(room)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoded(&mut Self::room()))
    }
}

/// Returns the request's id as text.
pub fn request_id(request: &HttpRequest) -> String {
    RequestId::of(request).to_string()
}

/// Returns the request's span with method, route pattern and id. The fields are computed only if tracing is on.
pub fn span(request: &ServiceRequest, id: RequestId) -> Span {
    tracing::debug_span!(
        "request",
        method = %request.method(),
        route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned()),
        request_id = %id
    )
}

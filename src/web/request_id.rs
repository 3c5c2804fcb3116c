//! A request's id and its span in the trace. The query stays out of both: it may hold a key.

use std::fmt;

use actix_web::dev::ServiceRequest;
use actix_web::{HttpMessage, HttpRequest};
use chrono::{DateTime, Utc};
use tracing::Span;
use uuid::fmt::Hyphenated;
use uuid::{NoContext, Timestamp, Uuid};

/// What a request is called in answers, logs and audit entries.
#[derive(Debug, Clone, Copy)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A UUIDv7 (RFC 9562 §5.7) for a request that begins now: by its time, its records are found again
    /// (`domain::usage::began_at`). Ids of one moment stand in no order: nothing is read from one, and all threads would
    /// count together.
    pub fn make(now: DateTime<Utc>) -> Self {
        let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
        Self(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos())))
    }

    /// The same, left in the request for all that it passes.
    pub fn assign(request: &ServiceRequest, now: DateTime<Utc>) -> Self {
        let id = Self::make(now);
        request.extensions_mut().insert(id);
        id
    }

    /// Of a request that has passed [`RequestId::assign`], as every one does that the routes get.
    pub fn of(request: &HttpRequest) -> Self {
        request.extensions().get::<Self>().copied().unwrap_or(Self(Uuid::nil()))
    }

    /// Room for [`RequestId::encoded`].
    pub const fn room() -> [u8; Hyphenated::LENGTH] {
        [0; Hyphenated::LENGTH]
    }

    /// As it is printed.
    pub fn encoded(self, room: &mut [u8; Hyphenated::LENGTH]) -> &str {
        self.0.hyphenated().encode_lower(room)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoded(&mut Self::room()))
    }
}

/// The id as it is printed.
pub fn request_id(request: &HttpRequest) -> String {
    RequestId::of(request).to_string()
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

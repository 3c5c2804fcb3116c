//! A request's id and its span in the trace. The query stays out of both: it may hold a key.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{HttpMessage, HttpRequest};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

/// The id that stands in answers, logs and audit entries.
pub fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default()
}

/// One span a request: method, route pattern and id.
pub struct Spans;

impl RootSpanBuilder for Spans {
    fn on_request_start(request: &ServiceRequest) -> Span {
        // What stands inside is worked out only where the trace is on.
        tracing::debug_span!(
            "request",
            method = %request.method(),
            route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned()),
            request_id = request_id(request.request()),
            status = tracing::field::Empty
        )
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, actix_web::Error>) {
        let status = match outcome {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        span.record("status", status.as_u16());
    }
}

//! Problem documents (RFC 9457): the one place where an error becomes an HTTP status.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::header::{ALLOW, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Map, Value, json};

use crate::domain::error::whole_seconds;
use crate::domain::{Error, FieldErrors};

/// Result of every handler.
pub type Answer = Result<HttpResponse, Fail>;

/// Error response. The API prints it as JSON, pages print it as HTML.
#[derive(Debug, Clone)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable code in snake_case, part of the API contract.
    pub code: &'static str,
    /// Short name of the problem.
    pub title: String,
    /// Sentence that says what is wrong and what to do.
    pub detail: String,
    /// Errors of single fields.
    pub errors: FieldErrors,
    /// Headers of the response.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Registered URI of the problem type. `None` stands for `urn:gatepost:problem:<code>`.
    pub kind: Option<&'static str>,
    /// Additional members of the document.
    pub extra: Map<String, Value>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            detail: detail.into(),
            errors: FieldErrors::default(),
            headers: Vec::new(),
            kind: None,
            extra: Map::new(),
        }
    }

    /// Adds a header to the response. An invalid value is dropped.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// Returns the problem for a response of the framework that carries a status alone.
    pub fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::BAD_REQUEST => ("bad_request", "the request could not be understood"),
            StatusCode::UNAUTHORIZED => ("unauthenticated", "sign in, or present a valid access token"),
            StatusCode::FORBIDDEN => ("forbidden", "this is not allowed"),
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this address does not support this method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "send JSON"),
            StatusCode::SERVICE_UNAVAILABLE => {
                ("unavailable", "the service is not available just now: try again in a moment")
            }
            _ if status.is_server_error() => ("internal", "something went wrong on our side"),
            _ => ("bad_request", "the request could not be answered"),
        };
        Self::new(status, code, detail)
    }

    /// Returns the problem for a method that the path does not support, with `Allow`.
    pub fn method_not_allowed(allowed: &[Method]) -> Self {
        let list = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        Self::of_status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, list)
    }

    /// Returns the JSON document of RFC 9457.
    pub fn to_json(&self, instance: &str, request_id: &str) -> Value {
        let mut body = self.extra.clone();
        let kind = self.kind.map_or_else(|| format!("urn:gatepost:problem:{}", self.code), str::to_owned);
        body.insert("type".into(), kind.into());
        body.insert("title".into(), self.title.clone().into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        body.insert("instance".into(), instance.into());
        body.insert("code".into(), self.code.into());
        body.insert("request_id".into(), request_id.into());
        if !self.errors.is_empty() {
            let errors = self.errors.iter();
            let errors = errors.map(|error| json!({"field": error.field, "code": error.code, "detail": error.detail}));
            body.insert("errors".into(), errors.collect());
        }
        Value::Object(body)
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let says = error.to_string();
        match error {
            Error::Invalid(errors) => Self {
                errors: errors.clone(),
                ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", sentence(errors))
            },
            Error::Unauthenticated => Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", says),
            Error::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "forbidden", says),
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", says),
            Error::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", says),
            Error::IdempotencyMismatch => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_mismatch", says),
            Error::IdempotencyInFlight => {
                Self::new(StatusCode::CONFLICT, "idempotency_in_flight", says).header(RETRY_AFTER, "1")
            }
            Error::LimitReached(_) => Self::new(StatusCode::CONFLICT, "limit_reached", says),
            Error::Throttled { retry_after } => Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", says)
                .header(RETRY_AFTER, whole_seconds(*retry_after).to_string()),
            Error::TenantBusy => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", says).header(RETRY_AFTER, "2")
            }
            Error::StatementTimeout => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "statement_timeout", says),
            Error::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", says).header(RETRY_AFTER, "2")
            }
            Error::Bug(_) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", says),
        }
    }
}

fn sentence(errors: &FieldErrors) -> String {
    let each = errors.iter().map(|error| format!("{} {}", error.field, error.detail));
    each.collect::<Vec<_>>().join("; ")
}

/// Handler's error: carries its problem to [`super::error_pages`], which prints it.
#[derive(Debug)]
pub struct Fail {
    /// Problem to send to the client.
    pub problem: Box<Problem>,
    /// Cause, used only in the log.
    pub cause: Option<Error>,
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        Self { problem: Box::new(Problem::from(&error)), cause: Some(error) }
    }
}

impl From<Problem> for Fail {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), cause: None }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.detail)
    }
}

impl ResponseError for Fail {
    fn status_code(&self) -> StatusCode {
        self.problem.status
    }

    /// Returns an empty body with the problem in the extensions. A middleware prints it later, as JSON or as a page.
    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponseBuilder::new(self.problem.status);
        for header in &self.problem.headers {
            response.append_header(header.clone());
        }
        let mut response = response.finish();
        response.extensions_mut().insert((*self.problem).clone());
        response
    }
}

/// Returns an error and its causes as text for the log.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! Output of errors: problem+json for programs, a page for people.

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{RequestHead, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use askama::Template;

use super::forward_auth;
use super::problem::{Fail, Problem, chain};
use super::request_id::RequestId;
use super::view::text;
use crate::domain::Error;

/// Error page. It has no shell, since the reader may not be signed in.
#[derive(Template)]
#[template(path = "errors/error.html")]
pub struct ErrorPage {
    /// HTTP status code.
    pub status: u16,
    pub title: String,
    pub detail: String,
    pub request_id: String,
}

/// Parts of a request that an error response needs. A clone of the whole request would deny the router the exclusive
/// access that it needs.
pub struct ErrorContext {
    uri: Uri,
    wants_page: bool,
    id: RequestId,
}

impl ErrorContext {
    /// Collects what an error response needs of the request.
    pub fn of(head: &RequestHead, id: RequestId) -> Self {
        Self { uri: head.uri.clone(), wants_page: wants_page(head), id }
    }

    fn request_id(&self) -> String {
        self.id.to_string()
    }
}

/// Returns the response with its problem printed as a body. A response without a problem stays unchanged.
pub fn print(response: ServiceResponse<BoxBody>, asker: &ErrorContext) -> ServiceResponse<BoxBody> {
    if !is_error(response.status()) {
        return response;
    }
    if let Some(fail) = response.response().error().and_then(|error| error.as_error::<Fail>()) {
        log(fail, asker);
    }
    let (request, mut inner) = response.into_parts();
    let spoken = inner.extensions_mut().remove::<Problem>();
    let problem = spoken.or_else(|| unspoken(&inner));
    let inner = match problem {
        Some(problem) => printed(asker, &problem, inner.headers()),
        None => inner,
    };
    ServiceResponse::new(request, inner)
}

/// Returns the response for a failure.
pub fn refusal(fail: &Fail, asker: &ErrorContext) -> HttpResponse {
    log(fail, asker);
    printed(asker, &fail.problem, &HeaderMap::new())
}

/// Returns the problem for an error response that the framework made without a body.
fn unspoken(response: &HttpResponse) -> Option<Problem> {
    let is_bare = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    (is_bare || response.error().is_some()).then(|| Problem::of_status(response.status()))
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Returns the response for an error of a middleware. Handlers never return `Err` to this point; only the session
/// middleware does, when its store fails.
pub fn refusal_of_middleware(error: &actix_web::Error, asker: &ErrorContext) -> HttpResponse {
    let status = error.as_response_error().status_code();
    let problem = match error.as_error::<Fail>() {
        Some(fail) => (*fail.problem).clone(),
        None if status.is_server_error() => {
            tracing::error!(cause = %error, request_id = asker.request_id(), "a middleware failed");
            Problem::from(&Error::unavailable("the session store failed"))
        }
        None => Problem::of_status(status),
    };
    printed(asker, &problem, &HeaderMap::new())
}

/// Wraps the error together with the response to send.
pub fn as_error(error: actix_web::Error, refusal: HttpResponse) -> actix_web::Error {
    InternalError::from_response(error, refusal).into()
}

fn log(fail: &Fail, asker: &ErrorContext) {
    let Some(cause) = &fail.cause else { return };
    // Log by cause, not by status: nginx gets 403 for every failure.
    if matches!(cause, Error::Bug(_) | Error::Unavailable(_)) {
        tracing::error!(request_id = asker.request_id(), cause = chain(cause), "the request failed");
    } else {
        tracing::debug!(request_id = asker.request_id(), cause = chain(cause), "the request was refused");
    }
}

/// Builds the error response. Headers that are already on the response stay and win.
fn printed(asker: &ErrorContext, problem: &Problem, present: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status);
    for (name, value) in present {
        response.append_header((name.clone(), value.clone()));
    }
    for (name, value) in problem.headers.iter().filter(|(name, _)| !present.contains_key(name)) {
        response.append_header((name.clone(), value.clone()));
    }
    // Override any caching header: a stored error would outlive its cause.
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    let request_id = asker.request_id();
    if asker.wants_page {
        let page = ErrorPage {
            status: problem.status.as_u16(),
            title: problem.title.clone(),
            detail: for_people(problem),
            request_id,
        };
        let html = page.render().unwrap_or_else(|_| problem.detail.clone());
        response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
    } else {
        let body = problem.to_json(asker.uri.path(), &request_id).to_string();
        response.insert_header((CONTENT_TYPE, "application/problem+json")).body(body)
    }
}

/// Detail of a problem in which fields have the names that forms show.
fn for_people(problem: &Problem) -> String {
    let refusals: Vec<_> = problem.errors.iter().map(|error| text::refusal(&error.field, &error.detail)).collect();
    if refusals.is_empty() { problem.detail.clone() } else { refusals.join(" ") }
}

/// True if a person made the request: the path is not one for programs, and `Accept` includes HTML.
fn wants_page(head: &RequestHead) -> bool {
    const PROGRAMS: [&str; 6] = ["/api/", "/api-keys", "/protected", "/metrics", "/healthz", "/readyz"];
    let accepts_html = || {
        let accept = head.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    let path = head.uri.path();
    !forward_auth::is_asked(path)
        && path != "/api"
        && !PROGRAMS.iter().any(|prefix| path.starts_with(prefix))
        && accepts_html()
}

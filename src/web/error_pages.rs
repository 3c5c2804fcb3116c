//! Prints problems: as problem+json for programs, as a page for people.

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

/// The page for an error, outside the shell: whoever sees it may not be signed in.
#[derive(Template)]
#[template(path = "errors/error.html")]
pub struct ErrorPage {
    pub status: u16,
    pub title: String,
    pub detail: String,
    pub request_id: String,
}

/// What is needed of a request to answer it with a problem. (A clone of the request itself would be in the router's way.)
pub struct Asker {
    uri: Uri,
    wants_page: bool,
    id: RequestId,
}

impl Asker {
    pub fn of(head: &RequestHead, id: RequestId) -> Self {
        Self { uri: head.uri.clone(), wants_page: wants_page(head), id }
    }

    fn request_id(&self) -> String {
        self.id.to_string()
    }
}

/// The answer itself, unless it carries a problem that nobody has written out yet.
pub fn print(response: ServiceResponse<BoxBody>, asker: &Asker) -> ServiceResponse<BoxBody> {
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

/// The answer that says why there is none.
pub fn refusal(fail: &Fail, asker: &Asker) -> HttpResponse {
    log(fail, asker);
    printed(asker, &fail.problem, &HeaderMap::new())
}

/// The problem of an error that the framework made with nothing to say.
fn unspoken(response: &HttpResponse) -> Option<Problem> {
    let is_bare = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    (is_bare || response.error().is_some()).then(|| Problem::of_status(response.status()))
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Only middlewares answer with `Err`, and the only one that can fail is the session's, for want of its store.
pub fn refusal_of_middleware(error: &actix_web::Error, asker: &Asker) -> HttpResponse {
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

/// The error, with what is answered in its place.
pub fn as_error(error: actix_web::Error, refusal: HttpResponse) -> actix_web::Error {
    InternalError::from_response(error, refusal).into()
}

fn log(fail: &Fail, asker: &Asker) {
    let Some(cause) = &fail.cause else { return };
    // By the cause: nginx is told a 403 whatever it is.
    if matches!(cause, Error::Bug(_) | Error::Unavailable(_)) {
        tracing::error!(request_id = asker.request_id(), cause = chain(cause), "the request failed");
    } else {
        tracing::debug!(request_id = asker.request_id(), cause = chain(cause), "the request was refused");
    }
}

/// Keeps the headers that stand on the answer already.
fn printed(asker: &Asker, problem: &Problem, present: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status);
    for (name, value) in present {
        response.append_header((name.clone(), value.clone()));
    }
    for (name, value) in problem.headers.iter().filter(|(name, _)| !present.contains_key(name)) {
        response.append_header((name.clone(), value.clone()));
    }
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

/// Whether a person is asking: not one of the programs' addresses, and a browser's `Accept`.
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

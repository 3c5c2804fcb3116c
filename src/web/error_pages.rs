//! Prints problems: as problem+json for programs, as a page for people. The outermost middleware of all.

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use actix_web::http::{StatusCode, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use askama::Template;
use tracing_actix_web::RequestId;

use super::forward_auth;
use super::problem::{Fail, Problem, chain};
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
struct Asker {
    uri: Uri,
    wants_page: bool,
    id: Option<RequestId>,
}

impl Asker {
    fn of(request: &HttpRequest) -> Self {
        let id = request.extensions().get::<RequestId>().copied();
        Self { uri: request.uri().clone(), wants_page: wants_page(request), id }
    }

    fn request_id(&self) -> String {
        self.id.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

pub async fn print(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let asker = Asker::of(request.request());
    let response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => return Err(refusal_of_middleware(&asker, error)),
    };
    log(&response, &asker);
    let (request, mut inner) = response.into_parts();
    let spoken = inner.extensions_mut().remove::<Problem>();
    let problem = spoken.or_else(|| unspoken(&inner));
    let inner = match problem {
        Some(problem) => printed(&asker, &problem, inner.headers()),
        None => inner,
    };
    Ok(ServiceResponse::new(request, inner))
}

/// The problem of an error that the framework made with nothing to say.
fn unspoken(response: &HttpResponse) -> Option<Problem> {
    let is_bare = matches!(response.body().size(), BodySize::None | BodySize::Sized(0));
    let is_unspoken = is_error(response.status()) && (is_bare || response.error().is_some());
    is_unspoken.then(|| Problem::of_status(response.status()))
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Only middlewares answer with `Err`, and the only one that can fail is the session's, for want of its store.
fn refusal_of_middleware(asker: &Asker, error: actix_web::Error) -> actix_web::Error {
    let status = error.as_response_error().status_code();
    let problem = match error.as_error::<Fail>() {
        Some(fail) => (*fail.problem).clone(),
        None if status.is_server_error() => {
            tracing::error!(cause = %error, request_id = asker.request_id(), "a middleware failed");
            Problem::from(&Error::unavailable("the session store failed"))
        }
        None => Problem::of_status(status),
    };
    let response = printed(asker, &problem, &HeaderMap::new());
    InternalError::from_response(error, response).into()
}

fn log(response: &ServiceResponse<BoxBody>, asker: &Asker) {
    let Some(fail) = response.response().error().and_then(|error| error.as_error::<Fail>()) else { return };
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
            detail: problem.detail.clone(),
            request_id,
        };
        let html = page.render().unwrap_or_else(|_| problem.detail.clone());
        response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
    } else {
        let body = problem.to_json(asker.uri.path(), &request_id).to_string();
        response.insert_header((CONTENT_TYPE, "application/problem+json")).body(body)
    }
}

/// Whether a person is asking: not one of the programs' addresses, and a browser's `Accept`.
fn wants_page(request: &HttpRequest) -> bool {
    const PROGRAMS: [&str; 6] = ["/api/", "/api-keys", "/protected", "/metrics", "/healthz", "/readyz"];
    let accepts_html = || {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    let is_asked = forward_auth::is_asked(request.path());
    !is_asked
        && request.path() != "/api"
        && !PROGRAMS.iter().any(|prefix| request.path().starts_with(prefix))
        && accepts_html()
}

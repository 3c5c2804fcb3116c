//! Prints problems: as problem+json for programs, as a page for people. The outermost middleware of all.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::problem::{Fail, Problem, chain};
use super::request_id::request_id;

/// The page for an error, outside the shell: whoever sees it may not be signed in.
#[derive(Template)]
#[template(path = "errors/error.html")]
pub struct ErrorPage {
    pub status: u16,
    pub title: String,
    pub detail: String,
    pub request_id: String,
}

pub async fn print(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let http = request.request().clone();
    let response = match next.call(request).await {
        Ok(response) => response.map_into_boxed_body(),
        Err(error) => return Ok(ServiceResponse::new(http.clone(), refusal_of_middleware(&http, &error))),
    };
    log(&response);
    let status = response.status();
    let (request, mut inner) = response.into_parts();
    let problem = inner.extensions_mut().remove::<Problem>();
    let is_bare = matches!(inner.body().size(), actix_web::body::BodySize::None | actix_web::body::BodySize::Sized(0));
    let problem = match problem {
        Some(problem) => Some(problem),
        None if is_error(status) && (is_bare || inner.error().is_some()) => Some(Problem::of_status(status)),
        None => None,
    };
    let inner = match problem {
        Some(problem) => printed(&request, &problem, &inner),
        None => inner,
    };
    Ok(ServiceResponse::new(request, inner))
}

fn is_error(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Only middlewares answer with `Err`, and the only one that can fail is the session's, for want of its store.
fn refusal_of_middleware(request: &HttpRequest, error: &actix_web::Error) -> HttpResponse {
    let problem = match error.as_error::<Fail>() {
        Some(fail) => (*fail.problem).clone(),
        None if error.as_response_error().status_code().is_server_error() => {
            tracing::error!(cause = %error, request_id = %request_id(request), "a middleware failed");
            Problem::from(&crate::domain::Error::unavailable("the session store failed"))
        }
        None => Problem::of_status(error.as_response_error().status_code()),
    };
    printed(request, &problem, &HttpResponse::new(problem.status))
}

fn log(response: &ServiceResponse<BoxBody>) {
    let Some(fail) = response.response().error().and_then(|error| error.as_error::<Fail>()) else { return };
    let Some(cause) = &fail.cause else { return };
    let request_id = request_id(response.request());
    if fail.problem.status.is_server_error() {
        tracing::error!(%request_id, cause = chain(cause), "the request failed");
    } else {
        tracing::debug!(%request_id, cause = chain(cause), "the request was refused");
    }
}

fn printed(request: &HttpRequest, problem: &Problem, bare: &HttpResponse) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status);
    for (name, value) in bare.headers() {
        response.append_header((name.clone(), value.clone()));
    }
    for (name, value) in problem.headers.iter().filter(|(name, _)| !bare.headers().contains_key(name)) {
        response.append_header((name.clone(), value.clone()));
    }
    response.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    let request_id = request_id(request);
    if wants_page(request) {
        let page = ErrorPage {
            status: problem.status.as_u16(),
            title: problem.title.clone(),
            detail: problem.detail.clone(),
            request_id,
        };
        let html = page.render().unwrap_or_else(|_| problem.detail.clone());
        response.insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html)
    } else {
        let body = problem.to_json(request.path(), &request_id).to_string();
        response.insert_header((CONTENT_TYPE, "application/problem+json")).body(body)
    }
}

/// Whether a person is asking: not one of the programs' addresses, and a browser's `Accept`.
fn wants_page(request: &HttpRequest) -> bool {
    const PROGRAMS: [&str; 7] = ["/api/", "/api-keys", "/protected", "/auth", "/metrics", "/healthz", "/readyz"];
    let accepts_html = || {
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    };
    request.path() != "/api" && !PROGRAMS.iter().any(|prefix| request.path().starts_with(prefix)) && accepts_html()
}

//! Fast path for verifications and gateway requests, which are few kinds and come often. Gate, bodies and refusals are
//! those of the routes, but nothing is routed, extracted or wrapped by middleware (docs/adr/0014-the-short-way.md).

use std::rc::Rc;
use std::time::Instant;

use actix_http::Request;
use actix_service::{Service, ServiceFactory, forward_ready};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{AppConfig, Payload, RequestHead, Response, ServiceResponse};
use actix_web::http::{Method, Uri};
use actix_web::web::Data;
use actix_web::{Error, HttpResponse};
use futures_util::future::{Either, FutureExt, LocalBoxFuture, Map};
use tracing::Level;

use super::api::body::IDEMPOTENCY_KEY;
use super::api::verification;
use super::bearer::Bearer;
use super::error_pages::{self, ErrorContext};
use super::problem::{Answer, Fail};
use super::request_id::RequestId;
use super::state::State;
use super::{forward_auth, headers, json, unread_body};

/// Kind of request that the fast path serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `POST /api/keys/verification`.
    Verification,
    /// `/auth` and paths below it.
    Gateway,
}

impl Call {
    /// Recognizes a request by its literal path. Other spellings of the path go through the routes. With request
    /// tracing on, all requests do, since the spans are there.
    fn of(head: &RequestHead) -> Option<Self> {
        let path = head.uri.path();
        let call = match head.method {
            Method::POST if path == verification::PATH && !head.headers.contains_key(IDEMPOTENCY_KEY) => {
                Self::Verification
            }
            // Gateways pass on the method of the original request, so any method is accepted.
            _ if forward_auth::is_asked(path) => Self::Gateway,
            _ => return None,
        };
        let is_traced = tracing::enabled!(target: "gatepost::web::request_id", Level::DEBUG)
            || tracing::enabled!(target: "gatepost::web::front", Level::DEBUG);
        (!is_traced).then_some(call)
    }
}

/// Wraps the application in a [`FastPath`] for each worker thread.
pub struct FastPathFactory<F> {
    pub app: F,
    pub state: Data<State>,
}

impl<F, B> ServiceFactory<Request> for FastPathFactory<F>
where
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>,
    F::Future: 'static,
    <F::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = FastPath<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (app, state) = (self.app.new_service(config), Rc::new(self.state.clone()));
        Box::pin(async move { Ok(FastPath { app: app.await?, state }) })
    }
}

/// Service that answers verifications and gateway requests itself and passes all others to the application.
pub struct FastPath<S> {
    app: S,
    /// One `Rc` per worker, so that workers do not contend for the atomic count of the `Arc` inside.
    state: Rc<Data<State>>,
}

type Answered = Result<Response<BoxBody>, Error>;

impl<S, B> Service<Request> for FastPath<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Either<Map<S::Future, fn(Result<S::Response, Error>) -> Answered>, LocalBoxFuture<'static, Answered>>;

    forward_ready!(app);

    fn call(&self, mut request: Request) -> Self::Future {
        trim(request.head_mut());
        if let Some(call) = Call::of(request.head()) {
            return Either::Right(Box::pin(answered(self.state(), call, request)));
        }
        self.state.cookies.keep_own(request.headers_mut());
        let body = unread_body::share(&mut request);
        let answer = self.app.call(request);
        match body {
            None => Either::Left(answer.map(routed)),
            Some(mut body) => Either::Right(Box::pin(async move {
                let answer = routed(answer.await);
                unread_body::drain(&mut body).await;
                answer
            })),
        }
    }
}

impl<S> FastPath<S> {
    fn state(&self) -> Rc<Data<State>> {
        Rc::clone(&self.state)
    }
}

/// Removes a trailing slash from API paths, since clients of other services write one. A second pattern for each route
/// would instead take 10 MiB (`VmRSS` at rest, two workers).
fn trim(head: &mut RequestHead) {
    let path = head.uri.path();
    let is_of_programs = path.starts_with("/api/") || path.starts_with("/api-keys/");
    let Some(trimmed) = path.strip_suffix('/').filter(|_| is_of_programs) else { return };
    let shorter = head.uri.query().map_or_else(|| trimmed.to_owned(), |query| format!("{trimmed}?{query}"));
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = shorter.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        head.uri = uri;
    }
}

fn routed<B: MessageBody + 'static>(answer: Result<ServiceResponse<B>, Error>) -> Answered {
    answer.map(|answer| Response::from(answer).map_into_boxed_body())
}

async fn answered(state: Rc<Data<State>>, call: Call, mut request: Request) -> Answered {
    let (id, mut payload) = (RequestId::make(state.clock.now()), request.take_payload());
    let head = request.head();
    let mut answer = match call {
        Call::Verification => {
            let answer = verified(&state, head, id, &mut payload).await;
            let mut answer = answer.unwrap_or_else(|fail| refused(&fail, head, id));
            headers::add_to_data(&state, answer.headers_mut());
            answer
        }
        Call::Gateway => gateway(&state, head, id).await,
    };
    unread_body::drain(&mut payload).await;
    headers::close_if_stopping(&state, answer.head_mut());
    Ok(answer.into())
}

async fn verified(state: &Rc<Data<State>>, head: &RequestHead, id: RequestId, payload: &mut Payload) -> Answer {
    let bearer = Bearer::of(state, head, id).await?;
    let body = json::body(head, payload, state.settings.request_deadline).await?;
    // Boxed so that the allocation stays small: allocators keep small blocks ready.
    Box::pin(verification::answered(state, &bearer, body)).await
}

/// Responds to a gateway, which passes the headers on for another host. Headers of this instance are therefore left
/// out.
async fn gateway(state: &State, head: &RequestHead, id: RequestId) -> HttpResponse {
    let start = Instant::now();
    let (answer, passage) = forward_auth::answered(state, head).await;
    let mut answer = answer.unwrap_or_else(|fail| refused(&fail, head, id));
    if let Some(passage) = passage {
        passage.add_headers(answer.headers_mut());
        let status = answer.status().as_u16();
        passage.record(state, id, || (head.uri.path().to_owned(), head.method.to_string()), status, start);
    }
    answer
}

fn refused(fail: &Fail, head: &RequestHead, id: RequestId) -> HttpResponse {
    error_pages::refusal(fail, &ErrorContext::of(head, id))
}
#[cfg(test)]
mod tests {
    use super::*;

    fn size_of<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// Checks the futures' sizes. glibc caches blocks of up to 1,032 bytes per thread; for larger ones it searches on
    /// every call.
    #[test]
    fn the_futures_of_a_call_fit_into_cached_blocks() {
        assert!(size_of(answered) <= 1_032, "{}", size_of(answered));
    }
}

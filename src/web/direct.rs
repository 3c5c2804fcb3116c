//! The short way for what is asked most: a verification, and a gateway's question. The same gate, the same bodies and
//! refusals as by the routes, which stay for everything else; but nothing is routed, extracted or wrapped on the way, since
//! they are few and come often (docs/adr/0014-the-short-way.md).

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
use super::error_pages::{self, Asker};
use super::problem::{Answer, Fail};
use super::request_id::RequestId;
use super::state::State;
use super::{forward_auth, headers, json, unread_body};

/// What is answered directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Verification,
    Gateway,
}

impl Call {
    /// By the path as it was written: one that is spelled otherwise finds its route. Where each request is traced, all of
    /// them go by the routes, where the spans are.
    fn of(head: &RequestHead) -> Option<Self> {
        let path = head.uri.path();
        let call = match head.method {
            Method::POST if path == verification::PATH && !head.headers.contains_key(IDEMPOTENCY_KEY) => {
                Self::Verification
            }
            _ if forward_auth::is_asked(path) => Self::Gateway,
            _ => return None,
        };
        let is_traced = tracing::enabled!(target: "gatepost::web::request_id", Level::DEBUG)
            || tracing::enabled!(target: "gatepost::web::front", Level::DEBUG);
        (!is_traced).then_some(call)
    }
}

/// Makes a [`Direct`] for each worker around the application.
pub struct DirectFactory<F> {
    pub app: F,
    pub state: Data<State>,
}

impl<F, B> ServiceFactory<Request> for DirectFactory<F>
where
    F: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<B>, Error = Error>,
    F::Future: 'static,
    <F::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = AppConfig;
    type Service = Direct<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, Self::InitError>>;

    fn new_service(&self, config: AppConfig) -> Self::Future {
        let (app, state) = (self.app.new_service(config), Rc::new(self.state.clone()));
        Box::pin(async move { Ok(Direct { app: app.await?, state }) })
    }
}

/// Answers what it can, and hands the rest on.
pub struct Direct<S> {
    app: S,
    /// Counted apart from the other workers' own, so that they don't wait for each other's count.
    state: Rc<Data<State>>,
}

type Answered = Result<Response<BoxBody>, Error>;

impl<S, B> Service<Request> for Direct<S>
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

impl<S> Direct<S> {
    fn state(&self) -> Rc<Data<State>> {
        Rc::clone(&self.state)
    }
}

/// A slash at the end of a path of the API makes no difference: clients of other services write one. It is taken away here,
/// since a second pattern for each route takes 10 MiB (`VmRSS` at rest, two workers).
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
    // In a piece of its own: allocators have small ones at hand.
    Box::pin(verification::answered(state, &bearer, body)).await
}

/// What gateways pass on speaks for another host: none of our own headers.
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
    error_pages::refusal(fail, &Asker::of(head, id))
}
#[cfg(test)]
mod tests {
    use super::*;

    fn size_of<A, B, C, F: Future>(_: fn(A, B, C) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    /// glibc keeps pieces of up to 1,032 bytes at hand for each thread; for larger ones it searches, with every call.
    #[test]
    fn a_call_fits_into_what_allocators_have_at_hand() {
        assert!(size_of(answered) <= 1_032, "{}", size_of(answered));
    }
}

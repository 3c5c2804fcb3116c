//! Forward authentication at `/auth`: a gateway asks for each request whether to let it through
//! (docs/forward-auth.md).

pub mod answer;
pub mod original;
pub mod recipes;
pub mod requirements;

use actix_web::dev::RequestHead;
use actix_web::web::{Data, to};
use actix_web::{HttpMessage, HttpRequest};

use super::key_auth::{self, KeyRequest};
use super::problem::{Answer, Fail};
use super::route::{Door, Entry, any};
use super::state::State;

/// Path without an original path. Requirements stand in the query at exactly this path.
pub const PATH: &str = "/auth";
/// Prefix before the original request's path.
const BELOW: &str = "/auth/";

/// True if the path is for gateway requests.
pub fn is_asked(path: &str) -> bool {
    path == PATH || path.starts_with(BELOW)
}

/// Routes for every method, since gateways pass on the method of the original request.
pub fn routes() -> Vec<Entry> {
    vec![any(Door::Key, PATH, || to(show)), any(Door::Key, "/auth/{original:.*}", || to(show))]
}

/// Decides about the original request. nginx cannot pass refusals on, so it gets them in its own form.
pub async fn show(state: Data<State>, request: HttpRequest) -> Answer {
    let (answer, passage) = answered(&state, request.head()).await;
    if let Some(passage) = passage {
        request.extensions_mut().insert(passage);
    }
    answer
}

/// Returns the response, and the record for usage accounting if a key was recognized.
pub async fn answered(state: &State, head: &RequestHead) -> (Answer, Option<KeyRequest>) {
    let is_for_nginx = requirements::is_for_nginx(head);
    let (answer, passage) = match decide(state, head, is_for_nginx).await {
        Ok((passage, None)) => (answer::allowed(passage.decision()).map_err(Fail::from), Some(passage)),
        Ok((passage, Some(fail))) => (Err(fail), Some(passage)),
        Err(fail) => (Err(fail), None),
    };
    (if is_for_nginx { answer::in_nginx_terms(answer) } else { answer }, passage)
}

async fn decide(state: &State, head: &RequestHead, is_for_nginx: bool) -> Result<(KeyRequest, Option<Fail>), Fail> {
    let required = requirements::of(head, &state.settings.trusted_proxies)?;
    let original = original::of(head, is_for_nginx);
    // Compare the required tenant with the slug of the key's own tenant. A tenant's existence then changes neither
    // response nor cost. Boxed so that the allocation stays small: allocators keep small blocks ready.
    let (passage, refused) = Box::pin(key_auth::decide(head, state, required, Some(original))).await?;
    Ok((passage, refused.map(Fail::from)))
}

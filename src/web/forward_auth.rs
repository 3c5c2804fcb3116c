//! `/auth`: a gateway asks, for each request it gets, whether to let it through (docs/forward-auth.md).

pub mod answer;
pub mod original;
pub mod recipes;
pub mod requirements;

use actix_web::dev::RequestHead;
use actix_web::web::{Data, to};
use actix_web::{HttpMessage, HttpRequest};

use super::gated::{self, Passage};
use super::problem::{Answer, Fail};
use super::routes::{Door, Entry, any};
use super::state::State;

/// Exactly here, requirements stand in the query.
pub const PATH: &str = "/auth";
/// Below it stands the original request's path.
const BELOW: &str = "/auth/";

/// Whether a path is one of a gateway's questions.
pub fn is_asked(path: &str) -> bool {
    path == PATH || path.starts_with(BELOW)
}

/// In any method, since gateways pass on that of the original request.
pub fn routes() -> Vec<Entry> {
    vec![any(Door::Key, PATH, || to(show)), any(Door::Key, "/auth/{original:.*}", || to(show))]
}

/// The gate's decision about the original request, for gateways that pass refusals on and for one that cannot.
pub async fn show(state: Data<State>, request: HttpRequest) -> Answer {
    let (answer, passage) = answered(&state, request.head()).await;
    if let Some(passage) = passage {
        request.extensions_mut().insert(passage);
    }
    answer
}

/// The same, and how it is to be accounted for where a key was recognized.
pub async fn answered(state: &State, head: &RequestHead) -> (Answer, Option<Passage>) {
    let is_for_nginx = requirements::is_for_nginx(head);
    let (answer, passage) = match decide(state, head, is_for_nginx).await {
        Ok((passage, None)) => (answer::allowed(passage.decision()).map_err(Fail::from), Some(passage)),
        Ok((passage, Some(fail))) => (Err(fail), Some(passage)),
        Err(fail) => (Err(fail), None),
    };
    (if is_for_nginx { answer::in_nginx_terms(answer) } else { answer }, passage)
}

async fn decide(state: &State, head: &RequestHead, is_for_nginx: bool) -> Result<(Passage, Option<Fail>), Fail> {
    let required = requirements::of(head, &state.settings.trusted_proxies)?;
    let original = original::of(head, is_for_nginx);
    // The required tenant is compared with the slug of the key's own: whether it exists changes neither answer nor work.
    // Boxed, since allocators have small pieces at hand.
    let (passage, refused) = Box::pin(gated::decide(head, state, required, Some(original))).await?;
    Ok((passage, refused.map(Fail::from)))
}

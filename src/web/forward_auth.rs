//! `/auth`: a gateway asks, for each request it gets, whether to let it through (FORMATS.md §6).

pub mod answer;
pub mod original;
pub mod recipes;
pub mod requirements;

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, to};

use super::gated::{self, Requirements};
use super::problem::{Answer, Fail};
use super::routes::{Door, Entry, any};
use super::state::State;
use crate::domain::{Error, Rejection};
use crate::gate::Decision;

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
    let is_for_nginx = requirements::is_for_nginx(&request);
    let allowed = decide(&state, &request, is_for_nginx).await.and_then(|decision| Ok(answer::allowed(&decision)?));
    if is_for_nginx { answer::in_nginx_terms(allowed) } else { allowed }
}

async fn decide(state: &State, request: &HttpRequest, is_for_nginx: bool) -> Result<Arc<Decision>, Fail> {
    let required = requirements::of(request, &state.settings.trusted_proxies)?;
    let original = original::of(request, is_for_nginx);
    let decided = gated::admit_for(request, state, required.clone(), Some(original)).await;
    match decided {
        Err(fail) if fail.problem.code == "invalid_api_key" => Err(explained(state, request, &required, fail).await),
        decided => decided,
    }
}

/// Where no key can ever fit, since the gateway names a tenant that does not exist, that is what is said.
async fn explained(state: &State, request: &HttpRequest, required: &Requirements, fail: Fail) -> Fail {
    let Some(slug) = &required.tenant else { return fail };
    // Where that can't be found out, the refusal stands.
    match state.gate.tenant_by_slug(slug).await {
        Ok(None) => {
            let field = requirements::name_of("tenant", request);
            Error::field(field, Rejection::new("unknown", "is the slug of no tenant")).into()
        }
        _ => fail,
    }
}

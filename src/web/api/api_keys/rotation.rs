//! `/api/keys/{id}/rotation`: replaces a key by a successor with a new secret, shown once.

use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde::{Deserialize, Serialize};

use super::{actor, idempotency, kept, minted, minted_before, parse_id};
use crate::domain::api_key::Overlap;
use crate::domain::{ApiKeyId, Permission};
use crate::services::api_keys;
use crate::services::idempotency::IdempotencyOutcome;
use crate::store::{Scope, Tx};
use crate::web::bearer::Bearer;
use crate::web::json::Json;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Request body to rotate a key.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RotateBody {
    /// Seconds for which the old key still works.
    overlap_seconds: Option<i64>,
}

/// Content of the request that the idempotency key's hash covers.
#[derive(Serialize)]
struct HashedRequest<'a> {
    id: ApiKeyId,
    #[serde(flatten)]
    body: &'a RotateBody,
}

/// Rotates a key. A request repeated with the same `Idempotency-Key` creates no second successor and gets the first
/// response again, without the secret.
pub async fn create(
    state: Data<State>,
    bearer: Bearer,
    request: HttpRequest,
    id: Path<String>,
    Json(body): Json<RotateBody>,
) -> Answer {
    let (id, now, hasher) = (parse_id(&id)?, state.clock.now(), state.hasher.clone());
    let actor = actor(&bearer, id).await?;
    actor.must(Permission::WriteKeys)?;
    let (overlap, once) =
        (Overlap::parse(body.overlap_seconds)?, idempotency(&request, &HashedRequest { id, body: &body })?);
    let scope = Scope::Tenant(actor.tenant);
    let rotate = move |tx: &mut Tx<'_>| match &once {
        Some((key, hash)) => {
            api_keys::rotate_once(tx, &actor, &hasher, (id, overlap), (key, hash), |key| kept(key, now))
        }
        None => api_keys::rotate(tx, &actor, &hasher, id, overlap).map(IdempotencyOutcome::First),
    };
    match state.api.tx(scope, rotate).await? {
        IdempotencyOutcome::First(rotated) => minted(rotated.minted, now),
        IdempotencyOutcome::Again(answer) => Ok(minted_before(&answer)),
    }
}

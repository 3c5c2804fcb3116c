//! `/api/keys/lookup`: finds a key by its secret, id or hint. The text may be a secret, so it comes in a body and is
//! not stored.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::body::KeyBody;
use crate::domain::{Permission, TenantId};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::Json;
use crate::web::lookup::{self, LookupResult};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Request body of a lookup.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupBody {
    /// Secret, public id or hint.
    key: String,
    /// Tenant's id, for an instance token.
    tenant_id: Option<TenantId>,
    /// Tenant's slug, for an instance token.
    tenant: Option<String>,
}

/// Result of a lookup.
#[derive(Debug, Serialize)]
struct LookupReport {
    /// True if an undeleted key matches.
    found: bool,
    /// Stable code of the result.
    code: &'static str,
    /// Sentence that explains the result.
    detail: String,
    /// Matching keys.
    keys: Vec<KeyBody<'static>>,
    /// True if more keys look like this than `keys` holds.
    keys_are_capped: bool,
}

/// Looks a key up. Responds 200 for every result.
pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<LookupBody>) -> Answer {
    let text = Zeroizing::new(body.key);
    let scope = bearer.reach(&TenantAsk::new(body.tenant_id, body.tenant), Permission::ReadKeys).await?;
    let finding = lookup::find(&state, &state.api, scope, &text).await?;
    let now = state.clock.now();
    Ok(HttpResponse::Ok().json(LookupReport {
        found: matches!(finding, LookupResult::Key(_) | LookupResult::Several(_)),
        code: finding.code(),
        detail: finding.sentence(),
        keys_are_capped: matches!(&finding, LookupResult::Several(keys) if keys.is_capped),
        keys: finding.into_keys().into_iter().map(|key| KeyBody::new(key, now)).collect(),
    }))
}

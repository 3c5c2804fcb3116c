//! `/api/keys/lookup`: whose key is this? The text may hold a secret, so it comes in a body and goes nowhere else.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::body::KeyBody;
use crate::domain::{Permission, TenantId};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::Json;
use crate::web::lookup::{self, Finding};
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupBody {
    key: String,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
}

#[derive(Debug, Serialize)]
struct Found {
    found: bool,
    code: &'static str,
    detail: String,
    keys: Vec<KeyBody<'static>>,
}

/// Answers 200 whatever is found.
pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<LookupBody>) -> Answer {
    let text = Zeroizing::new(body.key);
    let scope = bearer.reach(&TenantAsk::new(body.tenant_id, body.tenant), Permission::ReadKeys).await?;
    let finding = lookup::find(&state, &state.api, scope, &text).await?;
    let now = state.clock.now();
    Ok(HttpResponse::Ok().json(Found {
        found: matches!(finding, Finding::Key(_) | Finding::Several(_)),
        code: finding.code(),
        detail: finding.sentence(),
        keys: finding.into_keys().into_iter().map(|key| KeyBody::new(key, now)).collect(),
    }))
}

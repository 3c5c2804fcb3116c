//! `/api/keys/bulk-…`: one change to many keys, for admins. A request changes all selected keys or none.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::{Deserialize, Serialize};

use crate::domain::api_key::{Selection, TagChange};
use crate::domain::{Actor, ApiKeyId, Permission, Result, TenantId};
use crate::services::api_keys::{self, Bulk};
use crate::store::{Scope, Tx};
use crate::web::api::body::or_default;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::Json;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Request body to revoke keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Ids of the keys.
    ids: Vec<i64>,
    /// Why the keys are revoked, for the audit log.
    reason: Option<String>,
}

/// Request body to change the tags of keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Ids of the keys.
    ids: Vec<i64>,
    /// Tags to add.
    #[serde(default, deserialize_with = "or_default")]
    add: Vec<String>,
    /// Tags to remove.
    #[serde(default, deserialize_with = "or_default")]
    remove: Vec<String>,
}

/// Request body to delete keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Ids of the keys.
    ids: Vec<i64>,
}

/// Result of a change to many keys.
#[derive(Debug, Serialize)]
struct BulkBody {
    /// Number of changed keys.
    affected: usize,
    /// Ids of the changed keys.
    ids: Vec<ApiKeyId>,
    /// Ids of keys that do not exist here or needed no change.
    skipped: Vec<ApiKeyId>,
}

pub async fn revoke(state: Data<State>, bearer: Bearer, Json(body): Json<RevokeBody>) -> Answer {
    let actor = actor(&bearer, TenantAsk::new(body.tenant_id, body.tenant)).await?;
    let chosen = Selection::parse(&body.ids)?;
    done(&state, actor, move |tx, actor| api_keys::revoke_many(tx, actor, &chosen, body.reason.as_deref())).await
}

pub async fn tag(state: Data<State>, bearer: Bearer, Json(body): Json<TagBody>) -> Answer {
    let actor = actor(&bearer, TenantAsk::new(body.tenant_id, body.tenant)).await?;
    let chosen = Selection::parse(&body.ids)?;
    let change = TagChange::parse(&body.add, &body.remove)?;
    done(&state, actor, move |tx, actor| api_keys::tag_many(tx, actor, &chosen, &change)).await
}

pub async fn delete(state: Data<State>, bearer: Bearer, Json(body): Json<DeleteBody>) -> Answer {
    let actor = actor(&bearer, TenantAsk::new(body.tenant_id, body.tenant)).await?;
    let chosen = Selection::parse(&body.ids)?;
    done(&state, actor, move |tx, actor| api_keys::delete_many(tx, actor, &chosen)).await
}

async fn actor(bearer: &Bearer, tenant: TenantAsk) -> Result<Actor> {
    let actor = bearer.actor(&tenant).await?;
    actor.must(Permission::WriteManyKeys)?;
    Ok(actor)
}

/// Runs the change and invalidates this process's caches for the keys before the response.
async fn done<F>(state: &State, actor: Actor, act: F) -> Answer
where
    F: FnOnce(&mut Tx<'_>, &Actor) -> Result<Bulk> + Send + 'static,
{
    let bulk = state.api.tx(Scope::Tenant(actor.tenant), move |tx| act(tx, &actor)).await?;
    let ids: Vec<_> = bulk.affected.iter().map(|key| key.id).collect();
    Ok(HttpResponse::Ok().json(BulkBody { affected: ids.len(), ids, skipped: bulk.skipped }))
}

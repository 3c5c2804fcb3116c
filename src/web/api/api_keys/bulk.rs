//! One act on many keys, for admins: all of it or nothing.

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

/// Which keys, and what to do with them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeBody {
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    ids: Vec<i64>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagBody {
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    ids: Vec<i64>,
    #[serde(default, deserialize_with = "or_default")]
    add: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    remove: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteBody {
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    ids: Vec<i64>,
}

#[derive(Debug, Serialize)]
struct BulkBody {
    affected: usize,
    ids: Vec<ApiKeyId>,
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

/// Does it, and makes this process forget what it knew of those keys before the answer goes out.
async fn done<F>(state: &State, actor: Actor, act: F) -> Answer
where
    F: FnOnce(&mut Tx<'_>, &Actor) -> Result<Bulk> + Send + 'static,
{
    let bulk = state.api.tx(Scope::Tenant(actor.tenant), move |tx| act(tx, &actor)).await?;
    let ids: Vec<_> = bulk.affected.iter().map(|key| key.id).collect();
    Ok(HttpResponse::Ok().json(BulkBody { affected: ids.len(), ids, skipped: bulk.skipped }))
}

//! `/api/tokens`: access tokens. Members list their own, admins their tenant's, an instance token the instance's.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::body::{idempotency, made, made_before, make};
use super::list::{List, PagingQuery};
use crate::domain::access_token::{NewToken, TokenDraft};
use crate::domain::time::Time;
use crate::domain::{AccessTokenId, Actor, Error, Noun, Rejection, TenantId, UserId};
use crate::model::AccessToken;
use crate::services::access_tokens::{self, MintedToken};
use crate::services::idempotency::IdempotencyOutcome;
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Scope to create and revoke instance tokens, in addition to being an operator.
const SCOPE: &str = "tokens:write";
const LIST: &str = "/api/tokens";
const READ_SCOPE: &str = "tokens:read";

/// Access token as the API shows it.
#[derive(Debug, Serialize)]
pub struct TokenBody {
    /// Id of the token.
    id: AccessTokenId,
    /// Id of the token's user.
    user_id: UserId,
    /// Id of the token's tenant, or `null` for an instance token.
    tenant_id: Option<TenantId>,
    /// Name of the token.
    name: String,
    /// Shortened secret by which people recognize the token.
    hint: String,
    /// Scopes of the token.
    scopes: Vec<String>,
    /// When the token expires (UTC).
    expires_at: Option<DateTime<Utc>>,
    /// Time of the last recorded use (UTC).
    last_used_at: Option<DateTime<Utc>>,
    /// When the token was revoked (UTC).
    revoked_at: Option<DateTime<Utc>>,
    /// When the token was created (UTC).
    created_at: DateTime<Utc>,
    /// Id of the token that created this one.
    minted_by: Option<AccessTokenId>,
    /// Secret, only in the response to the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl From<AccessToken> for TokenBody {
    fn from(row: AccessToken) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            tenant_id: row.tenant_id,
            name: row.name,
            hint: row.hint,
            scopes: row.scopes,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
            created_at: row.created_at,
            minted_by: row.minted_by,
            token: None,
        }
    }
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<PagingQuery>) -> Answer {
    let paging = query.paging()?;
    let page = match actor(&bearer, &TenantAsk::default(), READ_SCOPE).await? {
        Some(actor) => {
            state.api.read(Scope::Tenant(actor.tenant), move |tx| access_tokens::list(tx, &actor, &paging)).await?
        }
        None => state.api.read(Scope::Instance, move |tx| access_tokens::list_of_instance(tx, &paging)).await?,
    };
    Ok(HttpResponse::Ok().json(List::new(page.map(TokenBody::from))))
}

/// Request body to create a token.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Name of the token. Required.
    name: Option<String>,
    /// Scopes of the token.
    scopes: Option<Vec<String>>,
    /// When the token expires. Absent: never, which a token that expires itself may not request.
    expires_at: Option<Time>,
    /// Tenant's id. An instance token without a tenant creates an instance token.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
}

/// Content of the request that the idempotency key's hash covers. It includes the user, so that no member gets another
/// member's token.
#[derive(Serialize)]
struct HashedRequest<'a> {
    user: UserId,
    #[serde(flatten)]
    body: &'a CreateBody,
}

/// Creates a token. A tenant token creates tokens for its tenant; an instance token for the instance or the named
/// tenant. A request repeated with the same `Idempotency-Key` creates no second token and gets the first response
/// again, without the secret.
pub async fn create(state: Data<State>, bearer: Bearer, request: HttpRequest, Json(body): Json<CreateBody>) -> Answer {
    let once = idempotency(&request, &HashedRequest { user: bearer.caller.user_id, body: &body })?;
    let ask = TenantAsk::new(body.tenant_id, body.tenant);
    let actor = actor(&bearer, &ask, SCOPE).await?;
    let (now, hasher) = (state.clock.now(), state.hasher.clone());
    let draft = TokenDraft {
        name: body.name,
        tenant: actor.as_ref().map(|actor| actor.tenant),
        scopes: body.scopes,
        expires_at: body.expires_at.map(Time::utc),
    };
    let new = NewToken { minted_by: Some(bearer.caller.token_id), ..NewToken::parse(draft, now)? };
    let minted = match actor {
        Some(actor) => {
            // Tokens are managed in `Scope::Instance`. Charging the tenant keeps it within its share of connections.
            let db = state.api.charged_to(actor.tenant);
            let mint = move |tx: &mut Tx<'_>| {
                let keyed = (actor.tenant, "tokens", once.as_ref());
                let work = |tx: &mut Tx<'_>| access_tokens::mint(tx, &actor, &hasher, new);
                make(tx, keyed, work, |minted| {
                    serde_json::to_value(TokenBody::from(minted.token.clone())).map_err(Error::bug)
                })
            };
            db.tx(Scope::Instance, mint).await?
        }
        None => {
            if once.is_some() {
                let says = "is supported only for tokens of a tenant: remove the header, or name a tenant";
                return Err(Error::field("Idempotency-Key", Rejection::new("not_supported", says)).into());
            }
            let (who, user) = (bearer.operator(SCOPE)?, bearer.caller.user_id);
            bearer.must_hold(new.scopes.as_slice())?;
            let mint = move |tx: &mut Tx<'_>| access_tokens::mint_for(tx, &who, &hasher, user, new);
            IdempotencyOutcome::First(state.api.tx(Scope::Instance, mint).await?)
        }
    };
    Ok(match minted {
        IdempotencyOutcome::First(MintedToken { token, secret }) => {
            let body = TokenBody { token: Some(secret.reveal_once()), ..TokenBody::from(token) };
            made(LIST, body.id.0, &body)
        }
        IdempotencyOutcome::Again(answer) => made_before(LIST, &answer),
    })
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let id = parse_id(&id)?;
    let token = match actor(&bearer, &TenantAsk::default(), READ_SCOPE).await? {
        Some(actor) => {
            state.api.read(Scope::Tenant(actor.tenant), move |tx| access_tokens::find(tx, &actor, id)).await?
        }
        None => state.api.read(Scope::Instance, move |tx| access_tokens::find_of_instance(tx, id)).await?,
    };
    Ok(HttpResponse::Ok().json(TokenBody::from(token)))
}

/// Revokes a token for good.
pub async fn destroy(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    match actor(&bearer, &TenantAsk::default(), SCOPE).await? {
        Some(actor) => {
            let db = state.api.charged_to(actor.tenant);
            let revoke = move |tx: &mut Tx<'_>| access_tokens::revoke(tx, &actor, id);
            db.tx(Scope::Instance, revoke).await?;
        }
        None => {
            let who = bearer.operator(SCOPE)?;
            let revoke = move |tx: &mut Tx<'_>| access_tokens::revoke_of_instance(tx, &who, id);
            state.api.tx(Scope::Instance, revoke).await?;
        }
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Returns the actor in a tenant. `None`: an instance token that names no tenant acts on the instance.
async fn actor(bearer: &Bearer, ask: &TenantAsk, scope: &str) -> Result<Option<Actor>, Error> {
    bearer.must_hold(&[scope.to_owned()])?;
    if bearer.is_for_the_instance(ask) {
        bearer.operator(scope)?;
        return Ok(None);
    }
    Ok(Some(bearer.actor(ask).await?))
}

fn parse_id(text: &str) -> Result<AccessTokenId, Error> {
    text.parse().map_err(|_| Error::NotFound(Noun::AccessToken))
}

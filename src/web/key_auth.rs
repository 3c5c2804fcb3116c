//! Extractors for routes that accept an API key, and accounting of each key's requests.

pub mod presented;
pub mod rate_headers;
pub mod refusal;

use std::future::Future;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use actix_web::dev::{Payload, RequestHead, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::auth::state;
use super::bearer::{self, Bearer, TenantAsk};
use super::client;
use super::problem::{Fail, Problem};
use super::request_id::{RequestId, request_id};
use super::route::Pattern;
use super::state::State;
use crate::domain::actor::Authority;
use crate::domain::api_key::Environment;
use crate::domain::usage::{self, UsageRecord};
use crate::domain::{Actor, Error, Noun, Permission, Result, Via, access_token};
use crate::gate::{Decision, KnownKey, VerificationRequest};
use crate::store::Scope;
use presented::Presented;

type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Fail>>>>;

/// Scopes that a route requires of a key, as a type.
pub trait RequiredScopes: 'static {
    const SCOPES: &'static [&'static str];
}

/// Requires no scope.
pub struct AnyKey;

impl RequiredScopes for AnyKey {
    const SCOPES: &'static [&'static str] = &[];
}

/// Requires the scope to read events.
pub struct EventsRead;

impl RequiredScopes for EventsRead {
    const SCOPES: &'static [&'static str] = &["events:read"];
}

/// Requires the scope to publish events.
pub struct EventsWrite;

impl RequiredScopes for EventsWrite {
    const SCOPES: &'static [&'static str] = &["events:write"];
}

/// Requires the scope to report usage.
pub struct UsageWrite;

impl RequiredScopes for UsageWrite {
    const SCOPES: &'static [&'static str] = &["usage:write"];
}

/// Extractor for a valid key with the required scopes. The request has been counted against the key's limits.
pub struct KeyAuth<N: RequiredScopes = AnyKey> {
    decision: Arc<Decision>,
    pub actor: Actor,
    needs: PhantomData<N>,
}

impl<N: RequiredScopes> KeyAuth<N> {
    /// Returns the key.
    pub fn key(&self) -> Result<&KnownKey> {
        self.decision.known().ok_or_else(|| Error::bug("a valid decision has its key"))
    }

    /// Returns the actor in the key's own tenant, or 404 if another tenant is named.
    fn acting(&self, ask: &TenantAsk) -> Result<Actor> {
        match ask.is_another(self.actor.tenant, &self.key()?.tenant_slug) {
            true => Err(Error::NotFound(Noun::Tenant)),
            false => Ok(self.actor.clone()),
        }
    }
}

impl<N: RequiredScopes> FromRequest for KeyAuth<N> {
    type Error = Fail;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = state(&request)?;
            let decision = admit(&request, &state, N::SCOPES).await?;
            let actor = acting(&request, &state, &decision)?;
            let keyed = Self { decision, actor, needs: PhantomData };
            if let Some(ask) = TenantAsk::in_query(request.head())? {
                keyed.acting(&ask)?;
            }
            Ok(keyed)
        })
    }
}

/// Extractor for an access token, or a key with the required scopes.
pub enum TokenOrKey<N: RequiredScopes> {
    Token(Box<Bearer>),
    Key(Box<KeyAuth<N>>),
}

impl<N: RequiredScopes> TokenOrKey<N> {
    /// Returns the actor for a change. A key, like a tenant token, acts in its own tenant and gets 404 for any other.
    pub async fn actor(&self, ask: &TenantAsk) -> Result<Actor> {
        match self {
            Self::Token(bearer) => bearer.actor(ask).await,
            Self::Key(keyed) => keyed.acting(ask),
        }
    }

    /// Returns the scope of a list.
    pub async fn reach(&self, ask: &TenantAsk, permission: Permission) -> Result<Scope> {
        match self {
            Self::Token(bearer) => bearer.reach(ask, permission).await,
            Self::Key(keyed) => Ok(Scope::Tenant(keyed.acting(ask)?.tenant)),
        }
    }
}

impl<N: RequiredScopes> FromRequest for TokenOrKey<N> {
    type Error = Fail;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_token = bearer::presented(request.head()).is_some_and(access_token::has_form);
        let has_key = request.headers().contains_key("x-api-key");
        if is_token && !has_key {
            let token = Bearer::from_request(request, payload);
            return Box::pin(async move { Ok(Self::Token(Box::new(token.await?))) });
        }
        let key = KeyAuth::from_request(request, payload);
        Box::pin(async move { Ok(Self::Key(Box::new(key.await?))) })
    }
}

/// Decision about a recognized key, with what is needed for rate headers and the usage record. Left in the request's
/// extensions for [`account`].
pub struct KeyRequest {
    decision: Arc<Decision>,
    original: Option<Original>,
    /// Decided status, for a gateway response whose own status differs.
    status: u16,
    ip: Option<IpAddr>,
}

/// Conditions that a key must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// Slug of the tenant that the key must belong to.
    pub tenant: Option<String>,
    /// Scopes that the key must have.
    pub scopes: Vec<String>,
    /// Environment that the key must belong to.
    pub environment: Option<Environment>,
    /// Units that the call takes from rate limits and quotas.
    pub cost: u64,
}

impl Default for Requirements {
    /// Accepts any key, at the cost of one request.
    fn default() -> Self {
        Self { tenant: None, scopes: Vec::new(), environment: None, cost: 1 }
    }
}

/// Request that a gateway asks about. The usage record shows it instead of the gateway's own request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    pub method: String,
    pub path: String,
    /// Query string, read for a key if the settings allow that. Never stored, since it may hold secrets.
    pub query: String,
}

/// Admits the request's key, or returns the refusal.
pub async fn admit(request: &HttpRequest, state: &State, scopes: &[&str]) -> Result<Arc<Decision>, Fail> {
    let scopes = scopes.iter().map(ToString::to_string).collect();
    let required = Requirements { scopes, ..Requirements::default() };
    let (passage, refused) = decide(request.head(), state, required, None).await?;
    let decision = Arc::clone(&passage.decision);
    request.extensions_mut().insert(passage);
    refused.map_or(Ok(decision), |problem| Err(problem.into()))
}

/// Decides about the key that a request presents. `original` is set if the decision is for another request. Returns
/// the record for accounting, and the refusal if there is one.
pub async fn decide(
    head: &RequestHead,
    state: &State,
    required: Requirements,
    original: Option<Original>,
) -> Result<(KeyRequest, Option<Problem>), Fail> {
    let query = original.as_ref().map_or("", |original| &original.query);
    let credential = match presented::find(head, query, state.settings.allow_query_key) {
        Presented::Credential(credential) => credential,
        Presented::Nothing => return Err(refusal::required().into()),
        Presented::Conflict => return Err(refusal::conflict().into()),
    };
    let ip = client::address(head, &state.settings.trusted_proxies);
    let ask = VerificationRequest {
        tenant_slug: required.tenant,
        scopes: required.scopes,
        environment: required.environment,
        cost: required.cost,
        ..VerificationRequest::new(credential, ip)
    };
    let decision = Arc::new(state.gate.decide(&ask).await?);
    let refused = refusal::of(&decision);
    let status = refused.as_ref().map_or(StatusCode::OK, |problem| problem.status).as_u16();
    Ok((KeyRequest { decision, original, status, ip }, refused))
}

fn acting(request: &HttpRequest, state: &State, decision: &Decision) -> Result<Actor> {
    let known = decision.known().ok_or_else(|| Error::bug("a valid decision has its key"))?;
    Ok(Actor {
        tenant: known.key.tenant_id,
        user: None,
        is_operator: false,
        authority: Authority::Key { id: known.key.id, scopes: known.scopes.clone() },
        via: Via::Api,
        label: known.key.hint.clone(),
        ip: client::address(request.head(), &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    })
}

/// Adds rate-limit headers to the response and records usage. Applies to every recognized key, refusals included.
pub fn account(state: &State, response: &mut ServiceResponse, start: Instant) {
    let Some(passage) = response.request().extensions_mut().remove::<KeyRequest>() else { return };
    passage.add_headers(response.headers_mut());
    let request = response.request();
    let pattern = || request.app_data::<Pattern>().map(|pattern| pattern.0.to_string());
    // Record the route pattern instead of the path, so that ids in paths do not make endpoints of their own.
    let this = || (pattern().unwrap_or_else(|| request.path().to_owned()), request.method().to_string());
    passage.record(state, RequestId::of(request), this, response.status().as_u16(), start);
}

impl KeyRequest {
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Adds the state of the key's limits as headers.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in rate_headers::of(&self.decision) {
            headers.insert(name, value);
        }
    }

    /// Records usage for the original request of a gateway, if there is one. Otherwise records `this` (endpoint and
    /// method), answered with `status`.
    pub fn record(
        self,
        state: &State,
        request_id: RequestId,
        this: impl FnOnce() -> (String, String),
        status: u16,
        start: Instant,
    ) {
        let Some(known) = self.decision.known() else { return };
        let ((endpoint, method), status) = match self.original {
            Some(original) => ((original.path, original.method), self.status),
            None => (this(), status),
        };
        state.gate.record(UsageRecord {
            tenant: known.key.tenant_id,
            api_key: Some(known.key.id),
            request_id: request_id.to_string(),
            endpoint: usage::endpoint(&endpoint).into(),
            // HTTP allows methods of any length; limit what is stored.
            method: method.chars().take(20).collect::<String>().into(),
            status: i16::try_from(status).unwrap_or(0),
            outcome: self.decision.outcome,
            reason: self.decision.reason.clone(),
            duration_us: i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
            cost: i64::try_from(self.decision.cost).unwrap_or(i64::MAX),
            ip: self.ip,
            at: state.clock.now(),
            is_reported: false,
        });
    }
}

//! Access token authentication for the JSON API. Session cookies are ignored here.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};

use super::auth::state;
use super::client;
use super::key_auth::refusal::REALM;
use super::problem::Fail;
use super::request_id::RequestId;
use super::state::State;
pub use super::tenant_param::TenantAsk;
use crate::domain::actor::Authority;
use crate::domain::{Actor, Error, Noun, Permission, Rejection, Result, Role, TenantId, Via, text};
use crate::gate::tokens::Presenter;
use crate::services::Operator;
use crate::services::tenants::{self, TenantRef};
use crate::store::{Scope, Tx};

/// `WWW-Authenticate` challenge after a token that is wrong.
const WRONG_TOKEN: &str = "Bearer realm=\"gatepost\", error=\"invalid_token\"";

/// A request's valid access token, with its owner.
pub struct Bearer {
    /// The token's owner, rights and tenant.
    pub caller: Presenter,
    /// Client's IP address.
    pub ip: Option<IpAddr>,
    pub request_id: RequestId,
    /// Tenant named in the query string, which every route accepts.
    query: Option<Box<TenantAsk>>,
    state: Rc<Data<State>>,
}

impl FromRequest for Bearer {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Self::of(&Rc::new(state(&request)?), request.head(), RequestId::of(&request)).await })
    }
}

/// Returns the token of `Authorization: Bearer …` (RFC 6750, section 2.1).
pub fn presented(head: &RequestHead) -> Option<&str> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Adds a `WWW-Authenticate` challenge to an authentication error. If a token was presented, the challenge names the
/// error (RFC 6750, section 3).
fn challenged(error: Error, challenge: &'static str) -> Fail {
    let is_about_token = matches!(error, Error::Unauthenticated);
    let fail = Fail::from(error);
    match is_about_token {
        true => Fail { problem: Box::new(fail.problem.header(WWW_AUTHENTICATE, challenge)), ..fail },
        false => fail,
    }
}

impl Bearer {
    /// Authenticates the request's token.
    pub async fn of(state: &Rc<Data<State>>, head: &RequestHead, request_id: RequestId) -> Result<Self, Fail> {
        let token = presented(head).ok_or_else(|| challenged(Error::Unauthenticated, REALM))?;
        let caller = state.tokens.caller(token).await.map_err(|error| challenged(error, WRONG_TOKEN))?;
        let ip = client::address(head, &state.settings.trusted_proxies);
        Ok(Self { caller, ip, request_id, query: TenantAsk::in_query(head)?, state: Rc::clone(state) })
    }

    /// Returns the actor for a creation or a single change. A tenant token acts in its own tenant and gets 404 for any
    /// other. An instance token must name a tenant.
    pub async fn actor(&self, ask: &TenantAsk) -> Result<Actor> {
        let named = self.named(ask).await?;
        self.caller.tenant.or(named).map(|tenant| self.acting_in(tenant)).ok_or_else(|| {
            let says = "is required with an instance token: name a tenant by tenant_id or tenant";
            Error::field("tenant_id", Rejection::new("required", says))
        })
    }

    /// Returns the actor for an existing resource. `owner` looks up the resource's tenant and runs only for an
    /// instance token.
    pub async fn actor_for<F>(&self, noun: Noun, owner: F) -> Result<Actor>
    where
        F: FnOnce(&mut Tx<'_>) -> Result<Option<TenantId>> + Send + 'static,
    {
        let named = self.named(&TenantAsk::default()).await?;
        let tenant = match self.caller.tenant {
            Some(own) => own,
            None => self.state.api.read(Scope::Instance, move |tx| tenant_of(tx, noun, owner)).await?,
        };
        match named {
            Some(named) if named != tenant => Err(Error::NotFound(noun)),
            _ => Ok(self.acting_in(tenant)),
        }
    }

    /// Returns the actor in the tenant that the path names.
    pub async fn actor_at(&self, tenant: TenantId) -> Result<Actor> {
        self.must_mean(tenant).await?;
        self.actor(&TenantAsk::new(Some(tenant), None)).await
    }

    /// Returns the scope of a list: the token's tenant or the named tenant. Without a name, an instance token lists
    /// all tenants.
    pub async fn reach(&self, ask: &TenantAsk, permission: Permission) -> Result<Scope> {
        let named = self.named(ask).await?;
        Authority::person_must(self.role(), &self.caller.scopes, permission)?;
        Ok(self.caller.tenant.or(named).map_or(Scope::Instance, Scope::Tenant))
    }

    /// Returns the operator for routes of the instance itself. Requires an operator's instance token with this scope,
    /// and refuses a tenant in the query.
    pub fn operator(&self, scope: &str) -> Result<Operator> {
        let operator = self.running_the_instance(scope)?;
        match self.query.iter().flat_map(|ask| ask.named()).next() {
            None => Ok(operator),
            Some((field, _)) => {
                let says = "is not a parameter of this request: it is about the instance, not about a tenant";
                Err(Error::field(field, Rejection::new("unknown", says)))
            }
        }
    }

    /// Returns the operator for a change to the tenant that the path names.
    pub async fn operator_at(&self, scope: &str, tenant: TenantId) -> Result<Operator> {
        let operator = self.running_the_instance(scope)?;
        self.must_mean(tenant).await?;
        Ok(operator)
    }

    fn running_the_instance(&self, scope: &str) -> Result<Operator> {
        if !self.caller.is_operator || self.caller.tenant.is_some() {
            return Err(Error::forbidden("this needs an instance token: an operator's access token without a tenant"));
        }
        self.must_hold(&[scope.to_owned()])?;
        Ok(Operator {
            user: Some(self.caller.user_id),
            via: Via::Api,
            label: self.caller.email.clone(),
            ip: self.ip,
            request_id: Some(self.request_id.to_string()),
        })
    }

    /// Refuses unless the token holds all of these scopes: a caller cannot grant scopes that it lacks.
    pub fn must_hold(&self, scopes: &[String]) -> Result<()> {
        let missing = self.caller.scopes.missing(scopes);
        if missing.is_empty() { Ok(()) } else { Err(Error::missing_scopes(&missing)) }
    }

    /// True if the request concerns the whole instance: an instance token was presented and no tenant is named.
    pub fn is_for_the_instance(&self, ask: &TenantAsk) -> bool {
        self.caller.tenant.is_none() && self.query.is_none() && ask.is_empty()
    }

    /// Responds 404 if the query names another tenant than the path.
    async fn must_mean(&self, tenant: TenantId) -> Result<()> {
        let Some(query) = &self.query else { return Ok(()) };
        // Compare ids without a lookup: a deleted tenant can be found only by its id.
        let is_it = query.tenant.is_none() && query.tenant_id == Some(tenant);
        if is_it || self.named(&TenantAsk::default()).await? == Some(tenant) {
            return Ok(());
        }
        Err(Error::NotFound(Noun::Tenant))
    }

    /// Returns the tenant that the request names. A tenant token compares with its own tenant and looks no other up.
    /// Other tenants therefore get the same response, at the same cost, whether they exist or not.
    async fn named(&self, ask: &TenantAsk) -> Result<Option<TenantId>> {
        if let (Some(own), Some(slug)) = (self.caller.tenant, &self.caller.tenant_slug) {
            let mut parts = [Some(ask), self.query.as_deref()].into_iter().flatten();
            let names_another = parts.any(|part| part.is_another(own, slug));
            return if names_another { Err(Error::NotFound(Noun::Tenant)) } else { Ok(Some(own)) };
        }
        if ask.is_empty() && self.query.is_none() {
            return Ok(None);
        }
        // Boxed so that the future of a call that names no tenant stays small.
        Box::pin(self.agreed(ask)).await
    }

    /// Returns the tenant that body and query name, or a conflict error if they differ. Used for instance tokens.
    async fn agreed(&self, ask: &TenantAsk) -> Result<Option<TenantId>> {
        let in_query = self.query.iter().flat_map(|query| query.named());
        let mut agreed = None;
        for (field, named) in ask.named().chain(in_query) {
            let found = self.find(named).await?;
            if agreed.replace(found).is_some_and(|before| before != found) {
                let says = "names another tenant than the rest of the request";
                return Err(Error::field(field, Rejection::new("conflict", says)));
            }
        }
        Ok(agreed)
    }

    /// Looks a tenant up in the gate's cache first, so that a verification needs no SQL. Falls back to the database,
    /// since the tenant may have been created after the cache was filled.
    async fn find(&self, named: TenantRef) -> Result<TenantId> {
        let known = match &named {
            TenantRef::Id(id) => self.state.gate.tenant_by_id(*id).await,
            TenantRef::Slug(slug) if text::slug(slug).is_ok() => self.state.gate.tenant_by_slug(slug).await,
            TenantRef::Slug(_) => return Err(Error::NotFound(Noun::Tenant)),
        };
        match known {
            Ok(Some(id)) => Ok(id),
            _ => Ok(self.state.api.read(Scope::Instance, move |tx| tenants::find(tx, &named)).await?.id),
        }
    }

    /// Returns the caller's role, which is equal in every tenant that the token reaches.
    fn role(&self) -> Role {
        if self.caller.is_operator { Role::Owner } else { self.caller.role.unwrap_or(Role::Viewer) }
    }

    fn acting_in(&self, tenant: TenantId) -> Actor {
        Actor {
            tenant,
            user: Some(self.caller.user_id),
            is_operator: self.caller.is_operator,
            authority: Authority::Person { role: self.role(), scopes: self.caller.scopes.clone() },
            via: Via::Api,
            label: self.caller.email.clone(),
            ip: self.ip,
            request_id: Some(self.request_id.to_string()),
        }
    }
}

/// Returns the tenant of a resource. Resources of a deleted tenant are not found.
fn tenant_of<F>(tx: &mut Tx<'_>, noun: Noun, owner: F) -> Result<TenantId>
where
    F: FnOnce(&mut Tx<'_>) -> Result<Option<TenantId>>,
{
    let tenant = owner(tx)?.ok_or(Error::NotFound(noun))?;
    tenants::find(tx, &TenantRef::Id(tenant)).map(|tenant| tenant.id).map_err(|error| match error {
        Error::NotFound(_) => Error::NotFound(noun),
        other => other,
    })
}

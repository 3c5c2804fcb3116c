//! Who is asking: a program with an access token, for the JSON API. The cookie counts for nothing here.

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
use super::gated::refusal::REALM;
use super::problem::Fail;
use super::request_id::RequestId;
use super::state::State;
pub use super::tenant_ask::TenantAsk;
use crate::domain::actor::Authority;
use crate::domain::{Actor, Error, Noun, Permission, Rejection, Result, Role, TenantId, Via, text};
use crate::gate::tokens::Presenter;
use crate::services::Operator;
use crate::services::tenants::{self, TenantRef};
use crate::store::{Scope, Tx};

const WRONG_TOKEN: &str = "Bearer realm=\"gatepost\", error=\"invalid_token\"";

/// A valid access token, and whose it is.
pub struct Bearer {
    pub caller: Presenter,
    pub ip: Option<IpAddr>,
    pub request_id: RequestId,
    /// The tenant that the query names, on every route.
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

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1).
pub fn presented(head: &RequestHead) -> Option<&str> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whoever is not let in is told what to present, and an error where something was presented (RFC 6750, section 3).
fn challenged(error: Error, challenge: &'static str) -> Fail {
    let is_about_token = matches!(error, Error::Unauthenticated);
    let fail = Fail::from(error);
    match is_about_token {
        true => Fail { problem: Box::new(fail.problem.header(WWW_AUTHENTICATE, challenge)), ..fail },
        false => fail,
    }
}

impl Bearer {
    /// Who presents a token with this request.
    pub async fn of(state: &Rc<Data<State>>, head: &RequestHead, request_id: RequestId) -> Result<Self, Fail> {
        let token = presented(head).ok_or_else(|| challenged(Error::Unauthenticated, REALM))?;
        let caller = state.tokens.caller(token).await.map_err(|error| challenged(error, WRONG_TOKEN))?;
        let ip = client::address(head, &state.settings.trusted_proxies);
        Ok(Self { caller, ip, request_id, query: TenantAsk::in_query(head)?, state: Rc::clone(state) })
    }

    /// The tenant that a creation or a single act is for. A tenant's token acts in its own and finds no other;
    /// an instance token must name one.
    pub async fn actor(&self, ask: &TenantAsk) -> Result<Actor> {
        let named = self.named(ask).await?;
        self.caller.tenant.or(named).map(|tenant| self.acting_in(tenant)).ok_or_else(|| {
            let says = "is required with an instance token: name a tenant by tenant_id or tenant";
            Error::field("tenant_id", Rejection::new("required", says))
        })
    }

    /// The actor for something that exists already. `owner` finds its tenant; only an instance token needs to ask.
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

    /// The actor in the tenant that the path names.
    pub async fn actor_at(&self, tenant: TenantId) -> Result<Actor> {
        self.must_mean(tenant).await?;
        self.actor(&TenantAsk::new(Some(tenant), None)).await
    }

    /// What a list may span: the token's tenant, the tenant that was named, or all of them for an instance token.
    pub async fn reach(&self, ask: &TenantAsk, permission: Permission) -> Result<Scope> {
        let named = self.named(ask).await?;
        Authority::person_must(self.role(), &self.caller.scopes, permission)?;
        Ok(self.caller.tenant.or(named).map_or(Scope::Instance, Scope::Tenant))
    }

    /// For routes of the instance itself, where no tenant can be named: an operator's token without a tenant, holding
    /// the scope.
    pub fn operator(&self, scope: &str) -> Result<Operator> {
        let operator = self.running_the_instance(scope)?;
        match self.query.iter().flat_map(|ask| ask.named()).next() {
            None => Ok(operator),
            Some((field, _)) => {
                let says = "is no parameter here: this is about the instance, not about a tenant";
                Err(Error::field(field, Rejection::new("unknown", says)))
            }
        }
    }

    /// The same for what an operator does to the tenant that the path names.
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

    /// Refuses unless the token holds all of these scopes: nobody hands on what they don't have.
    pub fn must_hold(&self, scopes: &[String]) -> Result<()> {
        let missing = self.caller.scopes.missing(scopes);
        if missing.is_empty() { Ok(()) } else { Err(Error::missing_scopes(&missing)) }
    }

    /// Whether this is about the instance as a whole: its token, and no tenant is named.
    pub fn is_for_the_instance(&self, ask: &TenantAsk) -> bool {
        self.caller.tenant.is_none() && self.query.is_none() && ask.is_empty()
    }

    /// Refuses where the query names another tenant than the path, which is then absent.
    async fn must_mean(&self, tenant: TenantId) -> Result<()> {
        let Some(query) = &self.query else { return Ok(()) };
        // A deleted one is found by its id alone, and not looked up.
        let is_it = query.tenant.is_none() && query.tenant_id == Some(tenant);
        if is_it || self.named(&TenantAsk::default()).await? == Some(tenant) {
            return Ok(());
        }
        Err(Error::NotFound(Noun::Tenant))
    }

    /// The tenant that the request names. A tenant's token knows its own and looks no other up: an existing tenant gets the
    /// same answer, for the same work, as one that does not exist.
    async fn named(&self, ask: &TenantAsk) -> Result<Option<TenantId>> {
        if let (Some(own), Some(slug)) = (self.caller.tenant, &self.caller.tenant_slug) {
            let mut parts = [Some(ask), self.query.as_deref()].into_iter().flatten();
            let names_another = parts.any(|part| part.is_another(own, slug));
            return if names_another { Err(Error::NotFound(Noun::Tenant)) } else { Ok(Some(own)) };
        }
        if ask.is_empty() && self.query.is_none() {
            return Ok(None);
        }
        // Apart, so that a call that names none carries no room for it.
        Box::pin(self.agreed(ask)).await
    }

    /// All that names a tenant must name the same one. For instance tokens.
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

    /// From memory where it was named before, so that a verification needs no SQL. What memory doesn't know may have
    /// been made since.
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

    /// The same in every tenant that the token reaches.
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

/// The tenant that something belongs to. A deleted tenant's things are not found.
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

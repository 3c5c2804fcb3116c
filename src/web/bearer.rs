//! Who is asking: a program with an access token, for the JSON API. The cookie counts for nothing here.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::AUTHORIZATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use diesel::pg::PgConnection;
use serde::Deserialize;

use super::auth::state;
use super::client;
use super::problem::Fail;
use super::request_id::RequestId;
use super::state::State;
use crate::domain::actor::Authority;
use crate::domain::{Actor, Error, Noun, Permission, Rejection, Result, Role, TenantId, Via, text};
use crate::gate::tokens::Presenter;
use crate::services::Operator;
use crate::services::tenants::{self, TenantRef};
use crate::store::Scope;

/// A valid access token, and whose it is.
pub struct Bearer {
    pub caller: Presenter,
    pub ip: Option<IpAddr>,
    pub request_id: RequestId,
    state: Rc<Data<State>>,
}

impl FromRequest for Bearer {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(
            async move { Ok(Self::of(&Rc::new(state(&request)?), request.head(), RequestId::of(&request)).await?) },
        )
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750, section 2.1).
pub fn presented(head: &RequestHead) -> Option<&str> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Which tenant a request names, in its body or query: by `tenant_id` or by `tenant`, a slug.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TenantAsk {
    pub tenant_id: Option<TenantId>,
    pub tenant: Option<String>,
}

impl TenantAsk {
    pub fn new(tenant_id: Option<TenantId>, tenant: Option<String>) -> Self {
        Self { tenant_id, tenant }
    }

    fn named(&self) -> Option<TenantRef> {
        let by_id = self.tenant_id.map(TenantRef::Id);
        by_id.or_else(|| self.tenant.clone().map(TenantRef::Slug))
    }
}

impl Bearer {
    /// Who presents a token with this request.
    pub async fn of(state: &Rc<Data<State>>, head: &RequestHead, request_id: RequestId) -> Result<Self> {
        let caller = state.tokens.caller(presented(head).ok_or(Error::Unauthenticated)?).await?;
        let ip = client::address(head, &state.settings.trusted_proxies);
        Ok(Self { caller, ip, request_id, state: Rc::clone(state) })
    }

    /// The tenant that a creation or a single act is for. A tenant's token acts in its own and finds no other;
    /// an instance token must name one.
    pub async fn actor(&self, ask: &TenantAsk) -> Result<Actor> {
        match (self.caller.tenant, self.named(ask).await?) {
            (Some(own), Some(named)) if own != named => Err(Error::NotFound(Noun::Tenant)),
            (Some(own), _) => Ok(self.acting_in(own)),
            (None, Some(named)) => Ok(self.acting_in(named)),
            (None, None) => Err(Error::field(
                "tenant_id",
                Rejection::new("required", "is required with an instance token: name a tenant by tenant_id or tenant"),
            )),
        }
    }

    /// The actor for something that exists already. `owner` finds its tenant; only an instance token needs to ask.
    pub async fn actor_for<F>(&self, noun: Noun, owner: F) -> Result<Actor>
    where
        F: FnOnce(&mut PgConnection) -> Result<Option<TenantId>> + Send + 'static,
    {
        let tenant = match self.caller.tenant {
            Some(own) => own,
            None => self.state.api.read(Scope::Instance, owner).await?.ok_or(Error::NotFound(noun))?,
        };
        Ok(self.acting_in(tenant))
    }

    /// What a list may span: the token's tenant, the tenant that was named, or all of them for an instance token.
    pub async fn reach(&self, ask: &TenantAsk, permission: Permission) -> Result<Scope> {
        let tenant = match (self.caller.tenant, self.named(ask).await?) {
            (Some(own), Some(named)) if own != named => return Err(Error::NotFound(Noun::Tenant)),
            (Some(own), _) => Some(own),
            (None, named) => named,
        };
        Authority::person_must(self.role(), &self.caller.scopes, permission)?;
        Ok(tenant.map_or(Scope::Instance, Scope::Tenant))
    }

    /// For routes of the instance itself: an operator's token without a tenant, holding the scope.
    pub fn operator(&self, scope: &str) -> Result<Operator> {
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
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::forbidden(format!("Missing required scopes: {}", missing.join(", "))))
    }

    pub fn is_of_the_instance(&self) -> bool {
        self.caller.tenant.is_none()
    }

    async fn named(&self, ask: &TenantAsk) -> Result<Option<TenantId>> {
        match ask.named() {
            None => Ok(None),
            // Its own tenant needs no looking up.
            Some(TenantRef::Id(id)) if self.caller.tenant == Some(id) => Ok(Some(id)),
            // Apart, so that a call that names none carries no room for it.
            Some(named) => Box::pin(self.find(named)).await.map(Some),
        }
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
            _ => Ok(self.state.api.read(Scope::Instance, move |conn| tenants::find(conn, &named)).await?.id),
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

//! Session authentication for pages. `web::bearer` authenticates access tokens, `web::gated` authenticates API keys.

use std::future::Future;
use std::pin::Pin;

use actix_session::{Session, SessionExt};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use url::{Url, form_urlencoded};

use super::problem::{Fail, Problem};
use super::proof::Proof;
use super::request_id::request_id;
use super::shell::{Shell, TenantChoice, unknown_parameters};
use super::state::State;
use super::{base, client, csrf, flash, session_store, urls};
use crate::domain::actor::Authority;
use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Error, Result, Role, TenantId, UserId, Via};
use crate::model::{Tenant, User};
use crate::services::Operator;
use crate::services::sessions::{self, SessionContext};
use crate::services::tenants;
use crate::store::Scope;

/// Session entry: id of the signed-in user.
pub const USER: &str = "user";
/// Session entry: id of the tenant that the user works in.
pub const TENANT: &str = "tenant";
/// Session entry: id of a user whose password was correct and whose second factor is still missing.
pub const PENDING: &str = "pending";
/// Session entry: tenant, role and operator flag at the last page, as text. A difference means that the rights
/// changed.
pub const RIGHTS: &str = "rights";

/// Extractor for pages of a tenant: a signed-in user who works in one. Visitors are redirected to the sign-in page.
pub struct SignedIn {
    pub actor: Actor,
    pub shell: Shell,
    pub session: Session,
    /// Base URL of this instance, used in examples to copy.
    pub base: Url,
    /// Proof of identity that some acts require to be recent.
    pub proof: Proof,
}

impl FromRequest for SignedIn {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let (who, is_member) = found(&request).await?;
            if !who.shell.is_somewhere() {
                return Err(nowhere(&request, who.actor.is_operator));
            }
            who.take_seat(&request, is_member).await?;
            Ok(who)
        })
    }
}

/// Extractor for pages outside any tenant, such as the account and the operator's pages. The user may have no tenant.
pub struct SignedInAnyTenant(pub SignedIn);

impl FromRequest for SignedInAnyTenant {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(found(&request).await?.0)) })
    }
}

/// Returns the session's user, and true if the user is a member of the tenant they work in.
async fn found(request: &HttpRequest) -> Result<(SignedIn, bool), Fail> {
    let session = request.get_session();
    let state = state(request)?;
    let Some(user) = session.get::<UserId>(USER).ok().flatten() else {
        return Err(to_sign_in(request));
    };
    let tenant = session.get::<TenantId>(TENANT).ok().flatten();
    let seat = state.pages.read(Scope::Instance, move |tx| sessions::seat(tx, user, tenant)).await?;
    let Some(seat) = seat else {
        session.purge();
        return Err(to_sign_in(request));
    };
    let is_member = seat.is_member;
    Ok((SignedIn::seated(request, &state, session, seat)?, is_member))
}

impl SignedIn {
    /// Returns the user as the actor for changes to the instance or to the user's own account.
    pub fn person(&self) -> Operator {
        Operator {
            user: self.actor.user,
            via: self.actor.via,
            label: self.actor.label.clone(),
            ip: self.actor.ip,
            request_id: self.actor.request_id.clone(),
        }
    }

    /// Returns the user as an operator, or refuses with 403.
    pub fn operator(&self) -> Result<Operator> {
        if self.actor.is_operator { Ok(self.person()) } else { Err(Error::forbidden("only operators can do this")) }
    }

    /// Returns the user as an operator who proved their identity recently. Acts that change how another person signs
    /// in require this.
    pub fn proven_operator(&self) -> Result<Operator, Fail> {
        let operator = self.operator()?;
        self.proof.must_be_recent()?;
        Ok(operator)
    }

    /// Returns the signed-in user's id.
    pub fn user(&self) -> Result<UserId> {
        self.actor.user.ok_or(Error::Unauthenticated)
    }

    /// Renews the session key if the user's rights changed since the last page. An older session key, which may have
    /// leaked, then does not gain the new rights. Records in the tenant's audit log when an operator who is no member
    /// enters.
    async fn take_seat(&self, request: &HttpRequest, is_member: bool) -> Result<(), Fail> {
        let (tenant, role) = (self.actor.tenant, self.shell.role);
        let rights = format!("{tenant} {role} {} {}", self.actor.is_operator, is_member);
        let before = self.session.get::<String>(RIGHTS).ok().flatten();
        if before.as_ref() == Some(&rights) {
            return Ok(());
        }
        if !is_member {
            let (state, who) = (state(request)?, self.person());
            state.pages.tx(Scope::Instance, move |tx| tenants::note_entry(tx, &who, tenant)).await?;
        }
        if before.is_some() {
            session_store::renew(&self.session)?;
        }
        self.session.insert(RIGHTS, rights).map_err(|error| Error::bug(error.to_string()).into())
    }

    fn seated(request: &HttpRequest, state: &State, session: Session, seat: SessionContext) -> Result<Self, Fail> {
        let (tenant, role) = match &seat.here {
            Some((tenant, role)) => (choice(tenant), *role),
            None => (TenantChoice::nowhere(), Role::Viewer),
        };
        let actor = actor(request, state, &seat.user, tenant.id, role);
        let parameters = form_urlencoded::parse(request.query_string().as_bytes());
        let shell = Shell {
            user_name: seat.user.name.clone(),
            user_email: seat.user.email.clone(),
            is_operator: seat.user.is_operator,
            tenant,
            tenants: seat.tenants.iter().map(choice).collect(),
            role,
            csrf: csrf::token(&session)?,
            flash: flash::take(&session),
            ignored: unknown_parameters(parameters.map(|(name, _)| name.into_owned())),
            path: request.path().to_owned(),
            rights: actor.clone(),
        };
        let proof = Proof::of(request, &session, state.clock.now());
        Ok(Self { actor, shell, session, base: base::of(request, state), proof })
    }
}

fn actor(request: &HttpRequest, state: &State, user: &User, tenant: TenantId, role: Role) -> Actor {
    Actor {
        tenant,
        user: Some(user.id),
        is_operator: user.is_operator,
        authority: Authority::Person { role, scopes: ScopeSet::all() },
        via: Via::Page,
        label: user.email.clone(),
        ip: client::address(request.head(), &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    }
}

fn choice(tenant: &Tenant) -> TenantChoice {
    TenantChoice {
        id: tenant.id,
        name: tenant.name.clone(),
        slug: tenant.slug.clone(),
        is_active: tenant.is_active,
        reason: tenant.suspended_reason.clone(),
        time_zone: tenant.time_zone.clone(),
    }
}

/// Returns the failure for a user without a tenant. The overview redirects an operator to the tenants and any other
/// user to their account; other pages respond 403.
fn nowhere(request: &HttpRequest, is_operator: bool) -> Fail {
    let says = "you are not a member of any tenant: ask an operator of this instance to add you";
    if request.path() == urls::OVERVIEW {
        let place = if is_operator { urls::TENANTS } else { urls::ACCOUNT };
        return Problem::new(StatusCode::SEE_OTHER, "forbidden", says).header(LOCATION, place.to_owned()).into();
    }
    Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into()
}

/// Redirects a visitor to the sign-in page, which leads back to the requested page. Only a GET can be repeated, so
/// other methods lead back to `/`.
fn to_sign_in(request: &HttpRequest) -> Fail {
    let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let is_get = request.method() == actix_web::http::Method::GET;
    let problem = Problem::new(StatusCode::SEE_OTHER, "unauthenticated", "sign in to see this page");
    problem.header(LOCATION, urls::sign_in_back_to(if is_get { back } else { "/" })).into()
}

/// Returns the application state that the server attached to the request.
pub fn state(request: &HttpRequest) -> Result<Data<State>> {
    request.app_data::<Data<State>>().cloned().ok_or_else(|| Error::bug("the application has no state"))
}

/// Returns the actor for changes made before sign-in: the caller's address without a user.
pub fn visitor(request: &HttpRequest, state: &State) -> Operator {
    Operator {
        user: None,
        via: Via::Page,
        label: "visitor".to_owned(),
        ip: client::address(request.head(), &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    }
}

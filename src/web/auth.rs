//! Who is asking: a person with a session, for pages. (Tokens: `web::bearer`. Keys: `web::gated`.)

use std::future::Future;
use std::pin::Pin;

use actix_session::{Session, SessionExt};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use url::Url;

use super::problem::{Fail, Problem};
use super::proof::Proof;
use super::request_id::request_id;
use super::shell::{Shell, TenantChoice};
use super::state::State;
use super::{base, client, csrf, flash, session_store, urls};
use crate::domain::actor::Authority;
use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Error, Result, Role, TenantId, UserId, Via};
use crate::model::{Tenant, User};
use crate::services::Operator;
use crate::services::sessions::{self, Seat};
use crate::services::tenants;
use crate::store::Scope;

/// The session's entry for the signed-in user, and for the tenant they work in.
pub const USER: &str = "user";
pub const TENANT: &str = "tenant";
/// Or for somebody whose password was right, and whose code is asked for.
pub const PENDING: &str = "pending";
/// And for what they could do there at their last page.
pub const RIGHTS: &str = "rights";

/// Somebody signed in, working in a tenant of theirs. A stranger is sent to sign in.
pub struct SignedIn {
    pub actor: Actor,
    pub shell: Shell,
    pub session: Session,
    /// Where this instance is reached, for examples to copy.
    pub base: Url,
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

/// Somebody signed in, for pages of no tenant: their own account, the instance. They may work in none.
pub struct Anywhere(pub SignedIn);

impl FromRequest for Anywhere {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(found(&request).await?.0)) })
    }
}

/// Who holds the session, and whether they are a member where they work.
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
    /// Whoever it is, as somebody who acts on the instance or on their own account.
    pub fn person(&self) -> Operator {
        Operator {
            user: self.actor.user,
            via: self.actor.via,
            label: self.actor.label.clone(),
            ip: self.actor.ip,
            request_id: self.actor.request_id.clone(),
        }
    }

    /// Refuses everybody but those who run the instance.
    pub fn operator(&self) -> Result<Operator> {
        if self.actor.is_operator { Ok(self.person()) } else { Err(Error::forbidden("this is for operators")) }
    }

    /// An operator who has proved lately who they are: for acts that change how another person signs in.
    pub fn proven_operator(&self) -> Result<Operator, Fail> {
        let operator = self.operator()?;
        self.proof.must_be_recent()?;
        Ok(operator)
    }

    pub fn user(&self) -> Result<UserId> {
        self.actor.user.ok_or(Error::Unauthenticated)
    }

    /// Renews the session where its rights are not those of its last page: a key that was seen before must not open
    /// what it did not. That an operator enters a tenant of which they are no member is told to it.
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

    fn seated(request: &HttpRequest, state: &State, session: Session, seat: Seat) -> Result<Self, Fail> {
        let (tenant, role) = match &seat.here {
            Some((tenant, role)) => (choice(tenant), *role),
            None => (TenantChoice::nowhere(), Role::Viewer),
        };
        let actor = actor(request, state, &seat.user, tenant.id, role);
        let shell = Shell {
            user_name: seat.user.name.clone(),
            user_email: seat.user.email.clone(),
            is_operator: seat.user.is_operator,
            tenant,
            tenants: seat.tenants.iter().map(choice).collect(),
            role,
            csrf: csrf::token(&session)?,
            flash: flash::take(&session),
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

/// Somebody who works in no tenant begins at their account, or, where they run the instance, at its tenants.
fn nowhere(request: &HttpRequest, is_operator: bool) -> Fail {
    let says = "you are not a member of any tenant: ask whoever runs this instance to add you";
    if request.path() == urls::OVERVIEW {
        let place = if is_operator { urls::TENANTS } else { urls::ACCOUNT };
        return Problem::new(StatusCode::SEE_OTHER, "forbidden", says).header(LOCATION, place.to_owned()).into();
    }
    Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into()
}

/// Sends a stranger to the sign-in page, which leads back to where they wanted to go.
fn to_sign_in(request: &HttpRequest) -> Fail {
    let back = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let is_get = request.method() == actix_web::http::Method::GET;
    let problem = Problem::new(StatusCode::SEE_OTHER, "unauthenticated", "sign in to see this page");
    problem.header(LOCATION, urls::sign_in_back_to(if is_get { back } else { "/" })).into()
}

pub fn state(request: &HttpRequest) -> Result<Data<State>> {
    request.app_data::<Data<State>>().cloned().ok_or_else(|| Error::bug("the application has no state"))
}

/// Whoever sits at this address, for acts before anybody is signed in.
pub fn visitor(request: &HttpRequest, state: &State) -> Operator {
    Operator {
        user: None,
        via: Via::Page,
        label: "visitor".to_owned(),
        ip: client::address(request.head(), &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    }
}

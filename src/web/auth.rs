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
use super::request_id::request_id;
use super::shell::{Shell, TenantChoice};
use super::state::State;
use super::{base, client, csrf, flash, urls};
use crate::domain::actor::Authority;
use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Error, Result, Role, TenantId, UserId, Via};
use crate::model::{Tenant, User};
use crate::services::Operator;
use crate::services::sessions::{self, Seat};
use crate::store::Scope;

/// The session's entry for the signed-in user, and for the tenant they work in.
pub const USER: &str = "user";
pub const TENANT: &str = "tenant";

/// Somebody signed in, working in a tenant of theirs. A stranger is sent to sign in.
pub struct SignedIn {
    pub actor: Actor,
    pub shell: Shell,
    pub session: Session,
    /// Where this instance is reached, for examples to copy.
    pub base: Url,
}

impl FromRequest for SignedIn {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let session = request.get_session();
            let state = state(&request)?;
            let Some(user) = session.get::<UserId>(USER).ok().flatten() else {
                return Err(to_sign_in(&request));
            };
            let tenant = session.get::<TenantId>(TENANT).ok().flatten();
            let seat = state.pages.read(Scope::Instance, move |conn| sessions::seat(conn, user, tenant)).await?;
            let Some(seat) = seat else {
                session.purge();
                return Err(to_sign_in(&request));
            };
            Self::seated(&request, &state, session, seat)
        })
    }
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

    pub fn user(&self) -> Result<UserId> {
        self.actor.user.ok_or(Error::Unauthenticated)
    }

    fn seated(request: &HttpRequest, state: &State, session: Session, seat: Seat) -> Result<Self, Fail> {
        let Some((tenant, role)) = seat.here else {
            let says = "you are not a member of any tenant: ask whoever runs this instance to add you";
            return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into());
        };
        let actor = actor(request, state, &seat.user, tenant.id, role);
        let shell = Shell {
            user_name: seat.user.name.clone(),
            user_email: seat.user.email.clone(),
            is_operator: seat.user.is_operator,
            tenant: choice(&tenant),
            tenants: seat.tenants.iter().map(choice).collect(),
            role,
            csrf: csrf::token(&session)?,
            flash: flash::take(&session),
            path: request.path().to_owned(),
            rights: actor.clone(),
        };
        Ok(Self { actor, shell, session, base: base::of(request, state) })
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
        ip: client::address(request, &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    }
}

fn choice(tenant: &Tenant) -> TenantChoice {
    TenantChoice { id: tenant.id, name: tenant.name.clone(), slug: tenant.slug.clone(), is_active: tenant.is_active }
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
        ip: client::address(request, &state.settings.trusted_proxies),
        request_id: Some(request_id(request)),
    }
}

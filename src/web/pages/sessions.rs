//! Pages to sign in and out, and to choose the tenant to work in.

pub mod code;

use std::time::Duration;

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::http::header::USER_AGENT;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::{go, page, refused, see_other};
use crate::domain::error::whole_seconds;
use crate::domain::{Error, Noun, Result, TenantId, UserId};
use crate::gate::hashing::Requester;
use crate::model::User;
use crate::services::account::{self, ADDRESS, DEVICE, HANDLE};
use crate::services::accounts::SignIn;
use crate::services::{accounts, random_token, second_factor, sessions as seats};
use crate::store::Scope;
use crate::web::auth::{RIGHTS, SignedInAnyTenant, TENANT, USER};
use crate::web::flash::{self, Flash};
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::{self, Attempt};
use crate::web::{client, csrf, device, proof, session_store, urls};

/// Maximum number of characters stored of a user agent.
const LONGEST_DEVICE: usize = 300;

/// Sign-in page.
#[derive(Template)]
#[template(path = "sessions/new.html")]
pub struct New {
    pub csrf: String,
    pub flash: Option<Flash>,
    pub email: String,
    /// Path to go to after the sign-in.
    pub back: String,
    /// Reason of a failed sign-in. The sentence does not reveal whether the account exists.
    pub refusal: Option<String>,
    /// True if a lost password can be reset by mail.
    pub sends_mail: bool,
}

/// Query of the sign-in page.
#[derive(Debug, Deserialize)]
pub struct SignInQuery {
    #[serde(default)]
    back: String,
}

/// Form of a sign-in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInForm {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    back: String,
}

pub async fn new(state: Data<State>, session: Session, Query(asked): Query<SignInQuery>) -> Answer {
    if session.contains_key(USER) {
        return go(urls::OVERVIEW);
    }
    let flash = flash::take(&session);
    let sends_mail = state.settings.smtp.is_some();
    let csrf = csrf::token(&session)?;
    page(&New { csrf, flash, email: String::new(), back: asked.back, refusal: None, sends_mail })
}

pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<SignInForm>,
) -> Answer {
    let ip = client::address(request.head(), &state.settings.trusted_proxies);
    let device = device::known(&request, &state, &form.email);
    let Ok(attempt) = Attempt::at(&form.email, ip).map(|attempt| attempt.by(device)) else {
        // The text is longer than any address, so no account has it. Do not send it back either.
        return wrong(&state, &session, SignInForm { email: String::new(), ..form });
    };
    let trial = match state.throttle.begin(&attempt, state.clock.now()) {
        Ok(trial) => trial,
        Err(Error::Throttled { retry_after }) => {
            return refuse(&state, &session, form, Some(retry_after), throttle::says(whole_seconds(retry_after)));
        }
        Err(error) => return Err(error.into()),
    };
    match check(&state, trial.requester(), &form).await {
        Ok(Some((user, has_factor))) if has_factor => {
            trial.take_back();
            code::ask(&session, &state, user.id, &form.back)
        }
        Ok(Some((user, _))) => {
            trial.succeed(&attempt);
            begin(&request, &state, &session, &SignIn::of(&user, false))?;
            Ok(device::remember(&request, &state, &form.email, go(place(&form.back))?)?)
        }
        Ok(None) => wrong(&state, &session, form),
        Err(error) => {
            trial.take_back();
            Err(error.into())
        }
    }
}

fn wrong(state: &State, session: &Session, form: SignInForm) -> Answer {
    let says = "The e-mail address or the password is wrong.".to_owned();
    refuse(state, session, form, None, says)
}

/// Returns the path to go to after the sign-in, limited to paths of this instance.
pub fn place(back: &str) -> &str {
    if urls::is_local(back) { back } else { urls::OVERVIEW }
}

/// Returns the user with this password, and true if the user has a second factor.
async fn check(state: &State, requester: &Requester, form: &SignInForm) -> Result<Option<(User, bool)>> {
    let email = form.email.clone();
    let credentials = state.pages.read(Scope::Instance, move |tx| accounts::credentials(tx, &email)).await?;
    let password = form.password.clone();
    let found = state.run_blocking(requester, move || Ok(credentials.check(&password))).await?;
    let Some(user) = found else { return Ok(None) };
    let id = user.id;
    let has_factor = state.pages.read(Scope::Instance, move |tx| second_factor::is_on(tx, id)).await?;
    Ok(Some((user, has_factor)))
}

fn refuse(state: &State, session: &Session, form: SignInForm, wait: Option<Duration>, says: String) -> Answer {
    let view = New {
        csrf: csrf::token(session)?,
        flash: None,
        email: form.email,
        back: form.back,
        refusal: Some(says),
        sends_mail: state.settings.smtp.is_some(),
    };
    refused(wait, &view)
}

/// Signs a user in to the session, with a new session key and a new CSRF token, so that an attacker cannot have
/// planted either.
pub fn begin(request: &HttpRequest, state: &State, session: &Session, sign_in: &SignIn) -> Result<()> {
    session_store::begin(session, sign_in)?;
    csrf::renew(session);
    // The rights of an earlier user must not be compared with those of this user.
    session.remove(RIGHTS);
    let keep = |error: actix_session::SessionInsertError| Error::bug(error.to_string());
    let device = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let address = client::address(request.head(), &state.settings.trusted_proxies);
    session.insert(DEVICE, device.chars().take(LONGEST_DEVICE).collect::<String>()).map_err(keep)?;
    session.insert(ADDRESS, address.map(|ip| ip.to_string()).unwrap_or_default()).map_err(keep)?;
    session.insert(HANDLE, random_token()?).map_err(keep)?;
    proof::note(session, state.clock.now())?;
    session.insert(USER, sign_in.user).map_err(keep)
}

pub async fn destroy(state: Data<State>, session: Session, _: CheckedForm<Nothing>) -> Answer {
    let (user, here) = (session.get::<UserId>(USER).ok().flatten(), session.get::<String>(HANDLE).ok().flatten());
    // End the session by its handle too: another request may just have renewed its key.
    if let (Some(user), Some(here)) = (user, here) {
        state.pages.tx(Scope::Instance, move |tx| account::leave(tx, user, &here)).await?;
    }
    session.purge();
    go(urls::SIGN_IN)
}

/// Form to switch to another tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantForm {
    tenant: TenantId,
}

/// Switches to another tenant of the user. The next page renews the session.
pub async fn switch(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<TenantForm>,
) -> Answer {
    let (user, tenant) = (who.user()?, form.tenant);
    let seat = state.pages.read(Scope::Instance, move |tx| seats::seat(tx, user, Some(tenant))).await?;
    let here = seat.and_then(|seat| seat.here).map(|(tenant, _)| tenant).filter(|here| here.id == tenant);
    let chosen = here.ok_or(Error::NotFound(Noun::Tenant))?;
    who.session.insert(TENANT, chosen.id).map_err(|error| Error::bug(error.to_string()))?;
    see_other(&who.session, urls::OVERVIEW, Flash::good(format!("You are now in {}.", chosen.name)))
}

//! Signing in and out, and choosing the tenant to work in.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::{go, page, rendered, see_other};
use crate::domain::{Error, Noun, Result, TenantId, UserId};
use crate::services::accounts;
use crate::store::Scope;
use crate::web::auth::{SignedIn, TENANT, USER};
use crate::web::flash::{self, Flash};
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::{client, csrf, urls};

#[derive(Template)]
#[template(path = "sessions/new.html")]
pub struct New {
    pub csrf: String,
    pub flash: Option<Flash>,
    pub email: String,
    /// Where to go afterwards.
    pub back: String,
    /// Why it did not work: one sentence that does not tell whether the account exists.
    pub refusal: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct Asked {
    #[serde(default)]
    back: String,
}

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

pub async fn new(session: Session, Query(asked): Query<Asked>) -> Answer {
    if session.contains_key(USER) {
        return go(urls::OVERVIEW);
    }
    let flash = flash::take(&session);
    page(&New { csrf: csrf::token(&session)?, flash, email: String::new(), back: asked.back, refusal: None })
}

pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<SignInForm>,
) -> Answer {
    let ip = client::address(&request, &state.settings.trusted_proxies);
    let attempt = Attempt { email: form.email.trim().to_lowercase(), ip };
    if let Some(wait) = state.throttle.wait(&attempt, state.clock.now()) {
        let says = format!("Too many attempts. Wait {} seconds, then try again.", wait.num_seconds().max(1));
        return refused(&session, form, StatusCode::TOO_MANY_REQUESTS, says);
    }
    match check(&state, &form).await? {
        Some(user) => {
            state.throttle.succeeded(&attempt);
            begin(&session, user)?;
            go(if urls::is_local(&form.back) { form.back.as_str() } else { urls::OVERVIEW })
        }
        None => {
            state.throttle.failed(attempt, state.clock.now());
            let says = "That e-mail address and password do not belong together.".to_owned();
            refused(&session, form, StatusCode::UNPROCESSABLE_ENTITY, says)
        }
    }
}

async fn check(state: &State, form: &SignInForm) -> Result<Option<UserId>> {
    let email = form.email.clone();
    let credentials = state.pages.read(Scope::Instance, move |conn| accounts::credentials(conn, &email)).await?;
    let password = form.password.clone();
    state.off_the_loop(move || Ok(credentials.check(&password).map(|user| user.id))).await
}

fn refused(session: &Session, form: SignInForm, status: StatusCode, says: String) -> Answer {
    let view =
        New { csrf: csrf::token(session)?, flash: None, email: form.email, back: form.back, refusal: Some(says) };
    rendered(status, &view)
}

/// Makes a session somebody's: with a new key and a new form token, so that neither can have been planted.
pub fn begin(session: &Session, user: UserId) -> Result<()> {
    session.renew();
    csrf::renew(session);
    session.insert(USER, user).map_err(|error| Error::bug(error.to_string()))
}

pub async fn destroy(session: Session, _: CheckedForm<Nothing>) -> Answer {
    session.purge();
    go(urls::SIGN_IN)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantForm {
    tenant: TenantId,
}

/// Switches to another tenant of this person's.
pub async fn switch(who: SignedIn, CheckedForm(form): CheckedForm<TenantForm>) -> Answer {
    let Some(chosen) = who.shell.tenants.iter().find(|tenant| tenant.id == form.tenant) else {
        return Err(Error::NotFound(Noun::Tenant).into());
    };
    who.session.insert(TENANT, chosen.id).map_err(|error| Error::bug(error.to_string()))?;
    see_other(&who.session, urls::OVERVIEW, Flash::good(format!("You are now in {}.", chosen.name)))
}

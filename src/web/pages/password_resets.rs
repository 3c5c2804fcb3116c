//! Page of a password reset link.

pub mod request;

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::api_keys::secretive;
use super::{page, see_other, unprocessable};
use crate::domain::{Error, FieldErrors, Result};
use crate::gate::hashing::Requester;
use crate::model::User;
use crate::services::accounts::NewPassword;
use crate::services::{account, accounts};
use crate::store::{Scope, Tx};
use crate::web::auth::visitor;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::{csrf, urls};

/// Page to set a new password.
#[derive(Template)]
#[template(path = "password_resets/new.html")]
pub struct New {
    pub csrf: String,
    pub token: String,
    pub email: String,
    pub errors: FieldErrors,
}

/// Query of a reset link.
#[derive(Debug, Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

/// Form with the new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetForm {
    #[serde(default)]
    token: String,
    #[serde(default)]
    password: String,
}

pub async fn new(state: Data<State>, session: Session, Query(link): Query<Link>) -> Answer {
    let user = offered(&state, &link.token).await?;
    page(&view(&session, link.token, user.email, FieldErrors::default())?).map(secretive)
}

async fn offered(state: &State, token: &str) -> Result<User> {
    let token = token.to_owned();
    state.pages.read(Scope::Instance, move |tx| account::reset_offered(tx, &token)).await
}

fn view(session: &Session, token: String, email: String, errors: FieldErrors) -> Result<New> {
    Ok(New { csrf: csrf::token(session)?, token, email, errors })
}

pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<ResetForm>,
) -> Answer {
    let (who, token, now) = (visitor(&request, &state), form.token.clone(), state.clock.now());
    let trial = state.throttle.begin(&Attempt::with_link(who.ip), now)?;
    let user = offered(&state, &form.token).await?;
    let (password, id) = (form.password.clone(), user.id);
    let host = state.host();
    let read = move |tx: &mut Tx<'_>| accounts::password_rules(tx, id, Some(&host));
    let rules = state.pages.read(Scope::Instance, read).await?;
    let requester = Requester::Known(user.email.clone());
    let parsed = state.run_blocking(&requester, move || NewPassword::parse(&password, &rules)).await;
    trial.take_back();
    let new = match parsed {
        Ok(new) => new,
        Err(Error::Invalid(errors)) => {
            return unprocessable(&view(&session, form.token, user.email, errors)?).map(secretive);
        }
        Err(error) => return Err(error.into()),
    };
    let act = move |tx: &mut Tx<'_>| account::reset_password(tx, &who, &token, &new);
    state.pages.tx(Scope::Instance, act).await?;
    see_other(&session, urls::SIGN_IN, Flash::good("Your password is set. Sign in with it."))
}

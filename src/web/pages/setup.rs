//! First start: a one-time link creates the first operator and their tenant.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::{page, see_other, sessions, unprocessable};
use crate::domain::{Error, FieldErrors};
use crate::gate::hashing::Requester;
use crate::services::accounts::{self, NewUser, SignIn};
use crate::services::tenants::NewTenant;
use crate::store::{Scope, Tx};
use crate::web::auth::visitor;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::{csrf, urls};

/// Page of the first start.
#[derive(Template)]
#[template(path = "setup/new.html")]
pub struct New {
    pub csrf: String,
    pub database: String,
    pub form: SetupForm,
    pub errors: FieldErrors,
}

/// Form of the first operator and tenant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupForm {
    #[serde(default)]
    pub token: String,
    #[serde(default)]
    pub email: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub password: String,
    #[serde(default)]
    pub tenant: String,
}

/// Query of the setup link.
#[derive(Debug, Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

pub async fn new(state: Data<State>, session: Session, Query(link): Query<Link>) -> Answer {
    may_set_up(&state, &link.token).await?;
    let form = SetupForm { token: link.token, ..SetupForm::default() };
    page(&view(&state, &session, form, FieldErrors::default())?)
}

async fn may_set_up(state: &State, token: &str) -> Result<(), Error> {
    let token = token.to_owned();
    state.pages.read(Scope::Instance, move |tx| accounts::may_set_up(tx, &token)).await
}

pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<SetupForm>,
) -> Answer {
    let (token, now, who) = (form.token.clone(), state.clock.now(), visitor(&request, &state));
    // Check the link before the slow password hashing, so that a request without a valid link costs only a lookup.
    let trial = state.throttle.begin(&Attempt::with_link(who.ip), now)?;
    may_set_up(&state, &token).await?;
    let asked = parse(&state, form.clone()).await;
    trial.take_back();
    let done = match asked {
        Ok((user, tenant)) => {
            let set_up = move |tx: &mut Tx<'_>| accounts::set_up(tx, &token, &user, &tenant, &who);
            state.pages.tx(Scope::Instance, set_up).await
        }
        Err(error) => Err(error),
    };
    match done {
        Ok((user, tenant)) => {
            sessions::begin(&request, &state, &session, &SignIn::of(&user, false))?;
            let said = format!("Welcome to Gatepost. {} is ready: create its first key.", tenant.name);
            see_other(&session, urls::OVERVIEW, Flash::good(said))
        }
        Err(Error::Invalid(errors)) => {
            unprocessable(&view(&state, &session, SetupForm { password: String::new(), ..form }, errors)?)
        }
        Err(error) => Err(error.into()),
    }
}

async fn parse(state: &State, form: SetupForm) -> Result<(NewUser, NewTenant), Error> {
    let host = state.host();
    state
        .run_blocking(&Requester::Known(form.email.clone()), move || {
            let known = [form.tenant.as_str(), &host];
            let user = NewUser::parse(&form.email, Some(&form.name), &form.password, true, &known);
            let tenant = NewTenant::parse(&form.tenant, None, None);
            both(user, renamed(tenant))
        })
        .await
}

/// Renames the errors' fields: the form has the tenant's name in the field `tenant`.
fn renamed(tenant: Result<NewTenant, Error>) -> Result<NewTenant, Error> {
    tenant.map_err(|error| match error {
        Error::Invalid(errors) => {
            let mut named = FieldErrors::default();
            for error in errors.iter() {
                named.add("tenant", crate::domain::Rejection { code: error.code, detail: error.detail.clone() });
            }
            named.into()
        }
        other => other,
    })
}

/// Returns both values, or the errors of both.
fn both<A, B>(a: Result<A, Error>, b: Result<B, Error>) -> Result<(A, B), Error> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(Error::Invalid(mut a)), Err(Error::Invalid(b))) => {
            a.extend(b);
            Err(a.into())
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn view(state: &State, session: &Session, form: SetupForm, errors: FieldErrors) -> Result<New, Error> {
    Ok(New { csrf: csrf::token(session)?, database: state.database.clone(), form, errors })
}

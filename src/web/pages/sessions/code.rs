//! Second step of a sign-in, for users with a second factor.

use std::time::Duration;

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::super::{go, page, refused};
use super::{begin, place};
use crate::domain::error::whole_seconds;
use crate::domain::{Error, Result, UserId};
use crate::model::User;
use crate::services::accounts::{self, SignIn};
use crate::services::second_factor;
use crate::store::{Scope, Tx};
use crate::web::auth::PENDING;
use crate::web::forms::CheckedForm;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::{self, Attempt};
use crate::web::{client, csrf, device, urls};

/// How long the second step may take.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Page that asks for the code.
#[derive(Template)]
#[template(path = "sessions/code.html")]
pub struct New {
    pub csrf: String,
    pub refusal: Option<String>,
}

/// User between the two steps, who is not signed in yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pending {
    /// User whose password was correct.
    user: UserId,
    /// When the password was checked.
    since: DateTime<Utc>,
    /// Path to go to after the sign-in.
    back: String,
}

/// Form of the second step.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeForm {
    code: String,
}

/// Starts the second step, in a session with a new key.
pub fn ask(session: &Session, state: &State, user: UserId, back: &str) -> Answer {
    session.renew();
    // Drop all entries, which signs out the user who was signed in here before.
    session.clear();
    // Cut a long path: the session must not grow without limit on input from a visitor.
    let pending = Pending { user, since: state.clock.now(), back: back.chars().take(2_000).collect() };
    session.insert(PENDING, pending).map_err(|error| Error::bug(error.to_string()))?;
    go(urls::SIGN_IN_CODE)
}

fn pending(session: &Session, state: &State) -> Option<Pending> {
    let found = session.get::<Pending>(PENDING).ok().flatten()?;
    (state.clock.now() < found.since + PATIENCE).then_some(found)
}

pub async fn new(state: Data<State>, session: Session) -> Answer {
    if pending(&session, &state).is_none() {
        return go(urls::SIGN_IN);
    }
    page(&New { csrf: csrf::token(&session)?, refusal: None })
}

pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<CodeForm>,
) -> Answer {
    let Some(pending) = pending(&session, &state) else { return go(urls::SIGN_IN) };
    let id = pending.user;
    let user = state.pages.read(Scope::Instance, move |tx| accounts::find(tx, id)).await?;
    // Start again if the user changed since the first step, as the password may be another one by now.
    if pending.since < user.updated_at {
        session.remove(PENDING);
        return go(urls::SIGN_IN);
    }
    let (ip, email) = (client::address(request.head(), &state.settings.trusted_proxies), user.email.clone());
    let attempt = Attempt::at(&email, ip)?.by(device::known(&request, &state, &email));
    let sign_in = SignIn::of(&user, true);
    match check(&state, user, attempt, form.code).await {
        Ok(true) => {
            session.remove(PENDING);
            begin(&request, &state, &session, &sign_in)?;
            Ok(device::remember(&request, &state, &email, go(place(&pending.back))?)?)
        }
        Ok(false) => {
            let says = "This code is wrong, has expired or was already used. Type the code that the app shows now, or an unused recovery code.".to_owned();
            refuse(&session, None, says)
        }
        Err(Error::Throttled { retry_after }) => {
            refuse(&session, Some(retry_after), throttle::says(whole_seconds(retry_after)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns true if the code is right. Guesses that come too fast are refused.
async fn check(state: &State, user: User, attempt: Attempt, code: String) -> Result<bool> {
    let (vault, now) = (state.vault.clone(), state.clock.now());
    let trial = state.throttle.begin(&attempt, now)?;
    let check = move |tx: &mut Tx<'_>| Ok(user.is_active && second_factor::check(tx, &vault, &user, &code)?);
    let checked = state.pages.tx(Scope::Instance, check).await;
    match checked {
        Ok(true) => trial.succeed(&attempt),
        Ok(false) => drop(trial),
        // The code was not checked, so this is no failed guess.
        Err(_) => trial.take_back(),
    }
    checked
}

fn refuse(session: &Session, wait: Option<Duration>, says: String) -> Answer {
    refused(wait, &New { csrf: csrf::token(session)?, refusal: Some(says) })
}

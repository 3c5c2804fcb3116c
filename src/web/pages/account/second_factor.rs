//! Setting up the second factor of one's own sign-in, and ending it.

use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde::Deserialize;

use super::super::api_keys::secretive;
use super::super::{back, page, see_other, unprocessable};
use super::{confirm_password, throttled};
use crate::domain::vault::Vault;
use crate::domain::{Error, FieldErrors, Rejection, Result};
use crate::model::User;
use crate::services::second_factor::{self, Standing};
use crate::services::{Operator, accounts};
use crate::store::Scope;
use crate::store::notify::Change;
use crate::web::auth::{Anywhere, SignedIn};
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::qr::Qr;
use crate::web::view::{When, text};

/// The field of the form that makes new recovery codes.
const RENEWAL: &str = "renewal_code";

#[derive(Template)]
#[template(path = "account/second_factor.html")]
pub struct Show {
    pub shell: Shell,
    pub stage: Stage,
    pub errors: FieldErrors,
}

/// What the page is about.
pub enum Stage {
    Off,
    SettingUp {
        qr: Box<Qr>,
        /// The secret, for those who type it.
        secret: String,
    },
    On {
        since: When,
        /// `8 recovery codes`
        codes: String,
        is_running_out: bool,
    },
}

#[derive(Template)]
#[template(path = "account/recovery_codes.html")]
pub struct Codes {
    pub shell: Shell,
    /// One a line.
    pub text: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeForm {
    code: String,
}

/// Named otherwise than the code of the form beside it, so that a refusal stands at its own field.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalForm {
    renewal_code: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffForm {
    current_password: String,
    code: String,
}

/// Does something with one's own second factor.
async fn with_own<T: Send + 'static>(
    state: &State,
    who: &SignedIn,
    work: impl FnOnce(&mut PgConnection, &Vault, &Operator, &User, DateTime<Utc>) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (user, person, vault, now) = (who.user()?, who.person(), state.vault.clone(), state.clock.now());
    let act = move |conn: &mut PgConnection| {
        let user = accounts::find(conn, user)?;
        work(conn, &vault, &person, &user, now)
    };
    state.pages.tx(Scope::Instance, act).await
}

async fn view(state: &State, who: SignedIn, errors: FieldErrors) -> Result<Show> {
    let now = state.clock.now();
    let standing = with_own(state, &who, |conn, vault, _, user, _| {
        Ok(match second_factor::standing(conn, vault, user)? {
            Standing::Off => Stage::Off,
            Standing::SettingUp(app) => {
                let qr = Qr::new(&app.url()?, "QR code for your authenticator app")?;
                Stage::SettingUp { qr: Box::new(qr), secret: app.text() }
            }
            Standing::On { since, codes } => Stage::On {
                since: When::new(since, since),
                codes: text::counted(codes, "recovery code"),
                is_running_out: codes < 3,
            },
        })
    });
    let stage = match standing.await? {
        Stage::On { since, codes, is_running_out } => {
            let at: DateTime<Utc> = since.iso.parse().unwrap_or(now);
            Stage::On { since: When::new(at, now), codes, is_running_out }
        }
        other => other,
    };
    Ok(Show { shell: who.shell, stage, errors })
}

pub async fn show(state: Data<State>, Anywhere(who): Anywhere) -> Answer {
    page(&view(&state, who, FieldErrors::default()).await?).map(secretive)
}

/// Begins: the page then shows what the app needs.
pub async fn create(state: Data<State>, Anywhere(who): Anywhere, _: CheckedForm<Nothing>) -> Answer {
    let begun = with_own(&state, &who, |conn, vault, _, user, now| second_factor::begin(conn, vault, user, now));
    match begun.await {
        Ok(()) => super::super::go(urls::SECOND_FACTOR),
        Err(error) => back(&who.session, urls::SECOND_FACTOR, error),
    }
}

/// The recovery codes, straight from the POST: they are shown once.
fn codes(shell: Shell, codes: &[String]) -> Answer {
    let text = codes.join("\n") + "\n";
    page(&Codes { shell, text }).map(secretive)
}

/// The page again with the messages at its fields, or the way back with a sentence.
async fn refused(state: &State, who: SignedIn, error: Error) -> Answer {
    match error {
        Error::Invalid(errors) => unprocessable(&view(state, who, errors).await?).map(secretive),
        error => back(&who.session, urls::SECOND_FACTOR, error),
    }
}

pub async fn activate(state: Data<State>, Anywhere(who): Anywhere, CheckedForm(form): CheckedForm<CodeForm>) -> Answer {
    if let Err(error) = throttled(&state, &who, "code") {
        return refused(&state, who, error).await;
    }
    let confirmed = with_own(&state, &who, move |conn, vault, person, user, now| {
        second_factor::confirm(conn, vault, person, user, &form.code, now)
    });
    match confirmed.await {
        Ok(made) => codes(who.shell, &made),
        Err(error) => {
            note(&state, &who, &error);
            refused(&state, who, error).await
        }
    }
}

pub async fn renew_codes(
    state: Data<State>,
    Anywhere(who): Anywhere,
    CheckedForm(form): CheckedForm<RenewalForm>,
) -> Answer {
    if let Err(error) = throttled(&state, &who, RENEWAL) {
        return refused(&state, who, error).await;
    }
    let renewed = with_own(&state, &who, move |conn, vault, person, user, now| {
        second_factor::renew_codes(conn, vault, person, user, &form.renewal_code, now)
    });
    match renewed.await {
        Ok(made) => codes(who.shell, &made),
        Err(error) => {
            note(&state, &who, &error);
            refused(&state, who, at_renewal(error)).await
        }
    }
}

/// The refusal of a code, at the field of this form.
fn at_renewal(error: Error) -> Error {
    let detail = match &error {
        Error::Invalid(errors) => errors.of("code").map(str::to_owned),
        _ => None,
    };
    detail.map_or(error, |detail| Error::field(RENEWAL, Rejection::new("wrong", detail)))
}

/// Needs the password and a code: neither a session that was left open nor a borrowed device is enough.
pub async fn deactivate(
    state: Data<State>,
    Anywhere(who): Anywhere,
    CheckedForm(form): CheckedForm<OffForm>,
) -> Answer {
    if let Err(error) = confirm_password(&state, &who, &form.current_password).await {
        return refused(&state, who, error).await;
    }
    let off = with_own(&state, &who, move |conn, vault, person, user, now| {
        second_factor::switch_off(conn, vault, person, user, &form.code, now)
    });
    match off.await {
        Ok(()) => {
            state.throttle.succeeded(&super::attempt(&who));
            state.forget(&Change::Access);
            let said = "The second factor is off: your password alone signs you in.";
            see_other(&who.session, urls::SECOND_FACTOR, Flash::good(said))
        }
        Err(error) => {
            note(&state, &who, &error);
            refused(&state, who, error).await
        }
    }
}

/// A wrong code counts as a wrong password does.
fn note(state: &State, who: &SignedIn, error: &Error) {
    if let Error::Invalid(errors) = error
        && errors.of("code").is_some()
    {
        state.throttle.failed(super::attempt(who), state.clock.now());
    }
}

//! Pages to set up and remove the user's own second factor.

use actix_web::web::Data;
use askama::Template;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::api_keys::secretive;
use super::super::{self as pages, back, page, see_other};
use super::{begin, confirm_password, handle};
use crate::domain::vault::Vault;
use crate::domain::{Error, FieldErrors, Rejection, Result};
use crate::model::User;
use crate::services::second_factor::{self, CodeOutcome, SecondFactorState};
use crate::services::{Operator, accounts};
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::throttle;
use crate::web::view::qr::Qr;
use crate::web::view::{When, text};
use crate::web::{proof, session_store, urls};

/// Name of the code field in the form for new recovery codes.
const RENEWAL: &str = "renewal_code";

/// Page about the user's second factor.
#[derive(Template)]
#[template(path = "account/second_factor.html")]
pub struct Show {
    pub shell: Shell,
    pub stage: Stage,
    pub errors: FieldErrors,
}

/// State of the second factor that the page shows.
pub enum Stage {
    Off,
    SettingUp {
        qr: Box<Qr>,
        /// Secret as text, for typing it into an app.
        secret: String,
    },
    On {
        since: When,
        /// Number of codes left as text, such as `8 recovery codes`.
        codes: String,
        is_running_out: bool,
    },
}

/// Page that shows recovery codes, only once.
#[derive(Template)]
#[template(path = "account/recovery_codes.html")]
pub struct Codes {
    pub shell: Shell,
    /// Recovery codes, one per line.
    pub text: String,
}

/// Form to begin the setup.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BeginForm {
    current_password: String,
}

/// Form to finish the setup with a code of the app.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeForm {
    code: String,
}

/// Form for new recovery codes. Its field differs in name from the code of the form beside it, so that an error stands
/// at the right field.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalForm {
    renewal_code: String,
}

/// Form to switch the second factor off.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OffForm {
    current_password: String,
    code: String,
}

/// Runs a change to the user's own second factor.
async fn with_own<T: Send + 'static>(
    state: &State,
    who: &SignedIn,
    work: impl FnOnce(&mut Tx<'_>, &Vault, &Operator, &User) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (user, person, vault) = (who.user()?, who.person(), state.vault.clone());
    let act = move |tx: &mut Tx<'_>| {
        let user = accounts::find(tx, user)?;
        work(tx, &vault, &person, &user)
    };
    state.pages.tx(Scope::Instance, act).await
}

/// Runs a change that needs a code. A wrong code counts like a wrong password and is an error of its field.
pub async fn with_code<T: Send + 'static>(
    state: &State,
    who: &SignedIn,
    field: &'static str,
    work: impl FnOnce(&mut Tx<'_>, &Vault, &Operator, &User) -> Result<CodeOutcome<T>> + Send + 'static,
) -> Result<T> {
    let trial = begin(state, who, field)?;
    let done = match with_own(state, who, work).await {
        Ok(CodeOutcome::Wrong) => {
            let says = "This code is wrong, has expired or was already used. Type the code that the app shows now.";
            return Err(Error::field(field, Rejection::new("wrong", says)));
        }
        Ok(CodeOutcome::Right(done)) => Ok(done),
        Err(error) => Err(error.throttled_at(field, throttle::says)),
    };
    trial.take_back();
    done
}

async fn view(state: &State, who: SignedIn, errors: FieldErrors) -> Result<Show> {
    let now = state.clock.now();
    let standing = with_own(state, &who, |tx, vault, _, user| {
        Ok(match second_factor::standing(tx, vault, user)? {
            SecondFactorState::Off => Stage::Off,
            SecondFactorState::SettingUp(app) => {
                let qr = Qr::new(&app.url()?, "QR code for your authenticator app")?;
                Stage::SettingUp { qr: Box::new(qr), secret: app.text() }
            }
            SecondFactorState::On { since, codes } => Stage::On {
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

/// Shows the second factor's state. The secret of an unfinished setup needs a recent proof: its holder can create
/// every later code.
pub async fn show(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant) -> Answer {
    let proof = who.proof.clone();
    let view = view(&state, who, FieldErrors::default()).await?;
    if matches!(view.stage, Stage::SettingUp { .. }) {
        proof.must_be_recent()?;
    }
    page(&view).map(secretive)
}

/// Begins the setup; the page then shows what the app needs. The password is required, or any session left open would
/// suffice to lock the user out.
pub async fn create(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<BeginForm>,
) -> Answer {
    if let Err(error) = confirm_password(&state, &who, &form.current_password).await {
        return refused(&state, who, error).await;
    }
    let begun = with_own(&state, &who, |tx, vault, _, user| second_factor::begin(tx, vault, user));
    match begun.await {
        Ok(()) => {
            proof::note(&who.session, state.clock.now())?;
            super::super::go(urls::SECOND_FACTOR)
        }
        Err(error) => back(&who.session, urls::SECOND_FACTOR, error),
    }
}

/// Shows the recovery codes in the response to the POST, only once.
fn codes(shell: Shell, codes: &[String]) -> Answer {
    let text = codes.join("\n") + "\n";
    page(&Codes { shell, text }).map(secretive)
}

/// Shows the form again with its errors, or redirects back with a message.
async fn refused(state: &State, who: SignedIn, error: Error) -> Answer {
    match error {
        Error::Invalid(errors) => pages::refused(errors.retry_after(), &view(state, who, errors).await?).map(secretive),
        error => back(&who.session, urls::SECOND_FACTOR, error),
    }
}

pub async fn activate(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<CodeForm>,
) -> Answer {
    who.proof.must_be_recent()?;
    let here = handle(&who);
    let confirmed = with_code(&state, &who, "code", move |tx, vault, person, user| {
        second_factor::confirm(tx, vault, person, user, (&form.code, &here))
    });
    match confirmed.await {
        Ok(made) => strengthened(who, &made),
        Err(error) => refused(&state, who, error).await,
    }
}

/// Shows the new recovery codes. Caches are invalidated first, so that tokens just revoked are refused before this
/// response is sent.
fn strengthened(who: SignedIn, made: &[String]) -> Answer {
    session_store::renew(&who.session)?;
    codes(who.shell, made)
}

pub async fn renew_codes(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<RenewalForm>,
) -> Answer {
    who.proof.must_be_recent()?;
    let here = handle(&who);
    let renewed = with_code(&state, &who, RENEWAL, move |tx, vault, person, user| {
        second_factor::renew_codes(tx, vault, person, user, (&form.renewal_code, &here))
    });
    match renewed.await {
        Ok(made) => strengthened(who, &made),
        Err(error) => refused(&state, who, error).await,
    }
}

/// Switches the second factor off. Requires password and code, so that neither a session left open nor a borrowed
/// device suffices.
pub async fn deactivate(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<OffForm>,
) -> Answer {
    if let Err(error) = confirm_password(&state, &who, &form.current_password).await {
        return refused(&state, who, error).await;
    }
    let off = with_code(&state, &who, "code", move |tx, vault, person, user| {
        second_factor::switch_off(tx, vault, person, user, &form.code)
    });
    match off.await {
        Ok(()) => {
            state.throttle.forgive(&super::attempt(&who)?, state.clock.now());
            let said = "The second factor is off: sign-in asks only for your password.";
            see_other(&who.session, urls::SECOND_FACTOR, Flash::good(said))
        }
        Err(error) => refused(&state, who, error).await,
    }
}

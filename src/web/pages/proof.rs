//! Page that asks a signed-in user for password and code before acts that weaken a sign-in.

use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::account::{attempt, confirm_password, second_factor as own};
use super::paging::UnknownParameters;
use super::sessions::place;
use super::{go, page, refused};
use crate::domain::{Error, FieldErrors, Result};
use crate::services::second_factor::{self, CodeOutcome};
use crate::store::Scope;
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::{proof, session_store};

/// Page that asks for a proof of identity.
#[derive(Template)]
#[template(path = "sessions/proof.html")]
pub struct New {
    pub shell: Shell,
    /// Page to return to.
    pub back: String,
    /// True if the user has a second factor and must enter a code.
    pub has_factor: bool,
    pub errors: FieldErrors,
}

/// Query of the page.
#[derive(Debug, Deserialize)]
pub struct ProofQuery {
    #[serde(default)]
    back: String,
    #[serde(flatten)]
    others: UnknownParameters,
}

/// Form of the proof.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofForm {
    back: String,
    current_password: String,
    code: String,
}

pub async fn new(
    state: Data<State>,
    SignedInAnyTenant(mut who): SignedInAnyTenant,
    Query(query): Query<ProofQuery>,
) -> Answer {
    who.shell.note_ignored(&query.others.noted());
    let has_factor = has_factor(&state, &who).await?;
    page(&New { shell: who.shell, back: query.back, has_factor, errors: FieldErrors::default() })
}

async fn has_factor(state: &State, who: &SignedIn) -> Result<bool> {
    let user = who.user()?;
    state.pages.read(Scope::Instance, move |tx| second_factor::is_on(tx, user)).await
}

/// Checks the proof. Guesses are throttled like sign-ins. The session gets a new key, so that a copy of the old one
/// proves nothing.
pub async fn create(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<ProofForm>,
) -> Answer {
    let has_factor = has_factor(&state, &who).await?;
    match prove(&state, &who, &form, has_factor).await {
        Ok(()) => {
            let now = state.clock.now();
            state.throttle.forgive(&attempt(&who)?, now);
            session_store::renew(&who.session)?;
            proof::note(&who.session, now)?;
            go(place(&form.back))
        }
        Err(Error::Invalid(errors)) => {
            refused(errors.retry_after(), &New { shell: who.shell, back: form.back, has_factor, errors })
        }
        Err(error) => Err(error.into()),
    }
}

async fn prove(state: &State, who: &SignedIn, form: &ProofForm, has_factor: bool) -> Result<()> {
    confirm_password(state, who, &form.current_password).await?;
    if !has_factor {
        return Ok(());
    }
    let code = form.code.clone();
    own::with_code(state, who, "code", move |tx, vault, _, user| {
        Ok(if second_factor::check(tx, vault, user, &code)? { CodeOutcome::Right(()) } else { CodeOutcome::Wrong })
    })
    .await
}

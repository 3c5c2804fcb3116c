//! Page of the user's own account: name, password and sessions.

pub mod second_factor;
pub mod view;

use actix_web::web::{Data, Path};

use super::{page, refused, see_other, unprocessable};
use crate::domain::{Error, FieldErrors, Rejection, Result};
use crate::gate::hashing::Requester;
use crate::services::account::{self, HANDLE};
use crate::services::accounts::{self, NewPassword};
use crate::services::second_factor as factor;
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::{self, Attempt, PendingAttempt};
use crate::web::view::text;
use crate::web::{session_store, urls};
use view::{Index, NameForm, PasswordForm, Row};

pub async fn index(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant) -> Answer {
    let form = NameForm { name: who.shell.user_name.clone() };
    page(&view(&state, who, form, FieldErrors::default()).await?)
}

async fn view(state: &State, who: SignedIn, form: NameForm, errors: FieldErrors) -> Result<Index> {
    let (user, here, now) = (who.user()?, handle(&who), state.clock.now());
    let read = move |tx: &mut Tx<'_>| Ok((account::places(tx, user, &here)?, factor::is_on(tx, user)?));
    let (places, has_factor) = state.pages.read(Scope::Instance, read).await?;
    Ok(Index {
        has_factor,
        has_others: places.iter().any(|place| !place.is_here),
        rows: places.into_iter().map(|place| Row::new(place, now)).collect(),
        shell: who.shell,
        form,
        errors,
    })
}

/// Returns the handle by which this session differs from the user's other sessions.
fn handle(who: &SignedIn) -> String {
    who.session.get::<String>(HANDLE).ok().flatten().unwrap_or_default()
}

pub async fn rename(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<NameForm>,
) -> Answer {
    let (user, person, name) = (who.user()?, who.person(), form.name.clone());
    let act = move |tx: &mut Tx<'_>| account::rename(tx, &person, user, &name);
    match state.pages.tx(Scope::Instance, act).await {
        Ok(_) => see_other(&who.session, urls::ACCOUNT, Flash::good("Your name is changed.")),
        Err(Error::Invalid(errors)) => unprocessable(&view(&state, who, form, errors).await?),
        Err(error) => Err(error.into()),
    }
}

pub async fn change_password(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    CheckedForm(form): CheckedForm<PasswordForm>,
) -> Answer {
    let checked = match confirm_password(&state, &who, &form.current_password).await {
        Ok(()) => {
            let (new, user) = (form.password.clone(), who.user()?);
            let host = state.host();
            let read = move |tx: &mut Tx<'_>| accounts::password_rules(tx, user, Some(&host));
            let rules = state.pages.read(Scope::Instance, read).await?;
            // With a second factor on, the password alone must not suffice to change the password.
            if rules.has_second_factor() {
                who.proof.must_be_recent()?;
            }
            state.run_blocking(&requester(&who), move || NewPassword::parse(&new, &rules)).await
        }
        Err(error) => Err(error),
    };
    let new = match checked {
        Ok(new) => new,
        Err(Error::Invalid(errors)) => {
            let form = NameForm { name: who.shell.user_name.clone() };
            return refused(errors.retry_after(), &view(&state, who, form, errors).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let (user, person, here, now) = (who.user()?, who.person(), handle(&who), state.clock.now());
    let act = move |tx: &mut Tx<'_>| account::change_password(tx, &person, user, &new, &here);
    match state.pages.tx(Scope::Instance, act).await {
        Err(Error::Invalid(errors)) => {
            let form = NameForm { name: who.shell.user_name.clone() };
            return unprocessable(&view(&state, who, form, errors).await?);
        }
        done => done?,
    }
    state.throttle.forgive(&attempt(&who)?, now);
    // Renew this session's key too, so that a leaked old key is worthless.
    session_store::renew(&who.session)?;
    see_other(
        &who.session,
        urls::ACCOUNT,
        Flash::good(
            "Your password is changed. You are signed out everywhere else, and your access tokens are revoked.",
        ),
    )
}

/// Returns the user's attempt for throttling.
pub fn attempt(who: &SignedIn) -> Result<Attempt> {
    Attempt::at(&who.shell.user_email, who.actor.ip)
}

/// Begins an attempt, or returns the throttling error at the field.
fn begin<'s>(state: &'s State, who: &SignedIn, field: &str) -> Result<PendingAttempt<'s>> {
    let begun = state.throttle.begin(&attempt(who)?, state.clock.now());
    begun.map_err(|error| error.throttled_at(field, throttle::says))
}

/// Checks the signed-in user's password. Guesses are throttled like sign-ins, so that a session left open does not
/// allow fast guessing.
pub async fn confirm_password(state: &State, who: &SignedIn, password: &str) -> Result<()> {
    let trial = begin(state, who, "current_password")?;
    let checked = is_password(state, who, password).await;
    if let Ok(false) = checked {
        return Err(Error::field(
            "current_password",
            Rejection::new("wrong", "This is not your current password. Type it again."),
        ));
    }
    // Take the attempt back without forgiving failures: a correct password must not buy guesses at the code that
    // follows.
    trial.take_back();
    checked.map(|_| ())
}

/// Returns the user as a known requester, since a session proves an earlier sign-in.
fn requester(who: &SignedIn) -> Requester {
    Requester::Known(who.shell.user_email.clone())
}

async fn is_password(state: &State, who: &SignedIn, password: &str) -> Result<bool> {
    let (email, password) = (who.shell.user_email.clone(), password.to_owned());
    let credentials = state.pages.read(Scope::Instance, move |tx| accounts::credentials(tx, &email)).await?;
    state.run_blocking(&requester(who), move || Ok(credentials.check(&password).is_some())).await
}

pub async fn sign_out(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<i64>,
    _: CheckedForm<Nothing>,
) -> Answer {
    let (user, person, id) = (who.user()?, who.person(), *id);
    let act = move |tx: &mut Tx<'_>| account::sign_out(tx, &person, user, id);
    state.pages.tx(Scope::Instance, act).await?;
    see_other(&who.session, urls::ACCOUNT, Flash::good("That browser is signed out."))
}

pub async fn sign_out_elsewhere(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    _: CheckedForm<Nothing>,
) -> Answer {
    let (user, person, here) = (who.user()?, who.person(), handle(&who));
    let act = move |tx: &mut Tx<'_>| account::sign_out_elsewhere(tx, &person, user, &here);
    let ended = state.pages.tx(Scope::Instance, act).await?;
    let ended = text::counted(i64::try_from(ended).unwrap_or(i64::MAX), "other browser");
    see_other(&who.session, urls::ACCOUNT, Flash::good(format!("Signed out of {ended}.")))
}

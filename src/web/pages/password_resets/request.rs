//! Page on which a user requests a reset link by mail. It exists only if a mail server is configured.

use std::net::IpAddr;

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::super::{page, refused, see_other};
use crate::domain::{Error, FieldErrors, Noun, Result};
use crate::services::{account, tenants};
use crate::store::{Scope, Tx};
use crate::web::auth::visitor;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::mail::MailQueue;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::{csrf, urls};

/// Page to request a reset link.
#[derive(Template)]
#[template(path = "password_resets/request.html")]
pub struct Request {
    pub csrf: String,
    pub email: String,
    pub errors: FieldErrors,
}

/// Form to request a reset link.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct RequestForm {
    email: String,
}

fn must_be_open(state: &State) -> Result<()> {
    if state.settings.smtp.is_some() { Ok(()) } else { Err(Error::NotFound(Noun::Page)) }
}

pub async fn new(state: Data<State>, session: Session) -> Answer {
    must_be_open(&state)?;
    page(&Request { csrf: csrf::token(&session)?, email: String::new(), errors: FieldErrors::default() })
}

/// Counts the request as a failed attempt, whatever its result.
fn count(state: &State, email: &str, ip: Option<IpAddr>) -> Result<()> {
    let attempt = Attempt::at(email, ip)?.for_reset();
    let says = |seconds| format!("has requested too many links. Wait {seconds} seconds, then try again.");
    let begun = state.throttle.begin(&attempt, state.clock.now());
    begun.map(drop).map_err(|error| error.throttled_at("email", says))
}

/// Requests a reset link. Response and duration do not reveal whether the account exists, since the mail is written
/// afterwards. Each request counts as a failed attempt for its address, so that no user is flooded with mail.
pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<RequestForm>,
) -> Answer {
    must_be_open(&state)?;
    let who = visitor(&request, &state);
    let email = form.email.clone();
    if let Err(error) = count(&state, &email, who.ip) {
        let Error::Invalid(errors) = error else { return Err(error.into()) };
        let view = Request { csrf: csrf::token(&session)?, email: form.email, errors };
        return refused(view.errors.retry_after(), &view);
    }
    let later = state.clone();
    actix_web::rt::spawn(async move {
        let (post, public_url) = (MailQueue::of(&later), later.settings.public_url.clone());
        let act = move |tx: &mut Tx<'_>| {
            let user = tenants::user_named(tx, None, Some(&email))?;
            let token = account::ask_reset(tx, &who, user.id)?;
            post.reset(tx, &public_url, &user, token).map(drop)
        };
        match later.pages.tx(Scope::Instance, act).await {
            // An unknown or deactivated account, or too many open links: no fault, and the visitor must not learn of
            // it.
            Ok(()) | Err(Error::NotFound(_) | Error::Conflict(_)) => {}
            Err(error) => tracing::warn!(%error, "a reset link could not be written"),
        }
    });
    let said = "If there is an account with that address, a link to set a new password is on its way.";
    see_other(&session, urls::SIGN_IN, Flash::good(said))
}

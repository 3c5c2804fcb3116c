//! Somebody who has lost their password asks for a link by mail. Only where mail is sent.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::Data;
use askama::Template;
use serde::Deserialize;

use super::super::{page, see_other, unprocessable};
use crate::domain::{Error, FieldErrors, Noun, Rejection, Result};
use crate::services::{account, tenants};
use crate::store::Scope;
use crate::web::auth::visitor;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::mail::Post;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::{csrf, urls};

#[derive(Template)]
#[template(path = "password_resets/request.html")]
pub struct Request {
    pub csrf: String,
    pub email: String,
    pub errors: FieldErrors,
}

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

/// Says the same whether there is such an account or not, and takes as long: the letter is written afterwards. Each
/// asking counts as a failed sign-in of the address it names, so that nobody is flooded.
pub async fn create(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<RequestForm>,
) -> Answer {
    must_be_open(&state)?;
    let (who, now) = (visitor(&request, &state), state.clock.now());
    let email = form.email.trim().to_lowercase();
    // Counted apart from sign-ins, whose failures these are not.
    let attempt = Attempt { email: format!("{email} (reset)"), ip: who.ip };
    if let Some(wait) = state.throttle.wait(&attempt, now) {
        let says = format!("was asked for too often. Wait {} seconds, then try again.", wait.num_seconds().max(1));
        let mut errors = FieldErrors::default();
        errors.add("email", Rejection::new("throttled", says));
        return unprocessable(&Request { csrf: csrf::token(&session)?, email: form.email, errors });
    }
    state.throttle.failed(attempt, now);
    let later = state.clone();
    actix_web::rt::spawn(async move {
        let (post, public_url) = (Post::of(&later), later.settings.public_url.clone());
        let act = move |conn: &mut _| {
            let user = tenants::user_named(conn, None, Some(&email))?;
            let token = account::offer_reset(conn, &who, user.id, now)?;
            post.reset(conn, &public_url, &user, &token, now)
        };
        match later.pages.tx(Scope::Instance, act).await {
            Ok(()) | Err(Error::NotFound(_) | Error::Conflict(_)) => {}
            Err(error) => tracing::warn!(%error, "a reset link could not be written"),
        }
    });
    let said = "If there is an account with that address, a link to set a new password is on its way.";
    see_other(&session, urls::SIGN_IN, Flash::good(said))
}

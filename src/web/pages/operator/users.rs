//! Pages about users of the instance, for operators: activation, operator rights and reset links.

pub mod view;

use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::super::api_keys::acts::Confirmed;
use super::super::api_keys::secretive;
use super::super::paging::PagePlace;
use super::super::{back, confirmations, page, see_other};
use crate::domain::{Error, Result, UserId};
use crate::model::User;
use crate::services::accounts::{self, UserChange};
use crate::services::{account, second_factor};
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::json::Query;
use crate::web::mail::MailQueue;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Confirmation, Pager, Tone, When, filter};
use view::{Index, Link, Row};

const ROWS: i64 = 50;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    q: String,
    #[serde(flatten)]
    place: PagePlace,
}

pub async fn index(
    state: Data<State>,
    SignedInAnyTenant(mut who): SignedInAnyTenant,
    Query(asked): Query<Listing>,
) -> Answer {
    who.operator()?;
    who.shell.note_ignored(&asked.place.noted::<UserId>());
    let (paging, now) = (asked.place.paging::<UserId>(ROWS), state.clock.now());
    let search = filter::text(&asked.q);
    let read = move |tx: &mut Tx<'_>| accounts::page(tx, search.as_deref(), &paging);
    let found = state.pages.read(Scope::Instance, read).await?;
    let (set, handing) = ([("q", asked.q.trim())], LinkDelivery::of(&state));
    page(&Index {
        pager: Pager::new(urls::USERS, &set, &found),
        chips: filter::chips(urls::USERS, &set, |_, value| ("Search".to_owned(), value.to_owned())),
        rows: found.rows.into_iter().map(|user| row(user, &who, handing, now)).collect(),
        search: asked.q,
        shell: who.shell,
    })
}

fn row((user, has_factor): (User, bool), who: &SignedIn, handing: LinkDelivery, now: DateTime<Utc>) -> Row {
    let csrf = &who.shell.csrf;
    Row {
        state: if user.is_active { Badge::state("active") } else { Badge::new(Tone::Bad, "stop", "Deactivated") },
        is_you: who.actor.user == Some(user.id),
        deactivate: ask(&user, Act::Deactivation, csrf),
        promote: ask(&user, Act::Promotion, csrf),
        demote: ask(&user, Act::Demotion, csrf),
        reset: ask(&user, Act::ResetLink(handing), csrf),
        activate: urls::user_act(user.id, "activation"),
        since: When::new(user.created_at, now),
        remove_factor: has_factor.then(|| ask(&user, Act::SecondFactor, csrf)),
        is_active: user.is_active,
        is_operator: user.is_operator,
        name: user.name,
        email: user.email,
        is_email_confirmed: user.is_email_confirmed,
    }
}

/// Change to a user that an operator confirms first.
#[derive(Debug, Clone, Copy)]
enum Act {
    Deactivation,
    Promotion,
    Demotion,
    ResetLink(LinkDelivery),
    SecondFactor,
}

/// Way in which a reset link reaches its user.
#[derive(Debug, Clone, Copy)]
enum LinkDelivery {
    /// The server mails the link.
    Mail,
    /// The page shows the link, and the operator passes it on.
    Page,
}

impl LinkDelivery {
    fn of(state: &State) -> Self {
        if MailQueue::of(state).is_open() { Self::Mail } else { Self::Page }
    }
}

impl Act {
    const fn path(self) -> &'static str {
        match self {
            Self::Deactivation => "deactivation",
            Self::Promotion => "promotion",
            Self::Demotion => "demotion",
            Self::ResetLink(_) => "reset-link",
            Self::SecondFactor => "second-factor-removal",
        }
    }
}

fn ask(user: &User, act: Act, csrf: &str) -> Confirmation {
    let name = &user.name;
    let (title, says, verb) = match act {
        Act::Deactivation => (
            format!("Deactivate {name}?"),
            "They are signed out everywhere at once. Their access tokens, and keys that require an active creator, are refused until you activate them again.",
            "Deactivate user",
        ),
        Act::Promotion => (
            format!("Make {name} an operator?"),
            "They can do everything, in every tenant and in the instance itself.",
            "Make operator",
        ),
        Act::Demotion => (
            format!("Remove {name} as an operator?"),
            "They keep the rights of their memberships. They lose all other rights at once, including instance tokens.",
            "Remove operator",
        ),
        Act::ResetLink(LinkDelivery::Mail) => (
            format!("Mail {name} a link to set a new password?"),
            "The link is not shown to you. It works once, within a day. The current password works until then.",
            "Mail link",
        ),
        Act::ResetLink(LinkDelivery::Page) => (
            format!("Create a link for {name} to set a new password?"),
            "The link is shown to you once, so that you can send it. It works once, within a day. The current password works until then.",
            "Create link",
        ),
        Act::SecondFactor => (
            format!("Remove the second factor of {name}?"),
            "Do this if they lost their device and their recovery codes. First make sure that they sent the request. Sign-in then asks only for their password, until they set up a new second factor.",
            "Remove second factor",
        ),
    };
    let ask = Confirmation::new(format!("{}-{}", act.path(), user.id), title, says);
    let ask = ask.posts(verb, urls::user_act(user.id, act.path()), csrf, urls::USERS);
    if matches!(act, Act::ResetLink(_)) { ask.gentle() } else { ask }
}

async fn question(state: &State, who: SignedIn, id: UserId, act: Act) -> Answer {
    who.proven_operator()?;
    let user = state.pages.read(Scope::Instance, move |tx| accounts::find(tx, id)).await?;
    let ask = ask(&user, act, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn ask_deactivate(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<UserId>) -> Answer {
    question(&state, who, *id, Act::Deactivation).await
}

pub async fn ask_promote(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<UserId>) -> Answer {
    question(&state, who, *id, Act::Promotion).await
}

pub async fn ask_demote(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<UserId>) -> Answer {
    question(&state, who, *id, Act::Demotion).await
}

pub async fn ask_reset(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<UserId>) -> Answer {
    question(&state, who, *id, Act::ResetLink(LinkDelivery::of(&state))).await
}

pub async fn ask_remove_factor(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
) -> Answer {
    question(&state, who, *id, Act::SecondFactor).await
}

pub async fn remove_factor(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Confirmed>,
) -> Answer {
    let (operator, id) = (who.proven_operator()?, *id);
    let act = move |tx: &mut Tx<'_>| {
        let user = accounts::find(tx, id)?;
        let is_password_ended = second_factor::remove(tx, &operator, &user)?;
        Ok((user, is_password_ended))
    };
    match state.pages.tx(Scope::Instance, act).await {
        Ok((user, is_password_ended)) => {
            let mut said = format!("{} no longer has a second factor.", user.name);
            if is_password_ended {
                said.push_str(
                    " Their password was too short without it and no longer works: create a reset link for them.",
                );
            }
            see_other(&who.session, urls::USERS, Flash::good(said))
        }
        Err(error) => back(&who.session, urls::USERS, error),
    }
}

/// Changes a user and reports it on the list.
async fn change(state: &State, who: SignedIn, id: UserId, change: UserChange, said: &str) -> Answer {
    let operator = who.proven_operator()?;
    let act = move |tx: &mut Tx<'_>| accounts::update(tx, &operator, id, change);
    match state.pages.tx(Scope::Instance, act).await {
        Ok(user) => see_other(&who.session, urls::USERS, Flash::good(format!("{} {said}.", user.name))),
        Err(error) => back(&who.session, urls::USERS, error),
    }
}

pub async fn deactivate(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Confirmed>,
) -> Answer {
    let off = UserChange { is_active: Some(false), ..UserChange::default() };
    change(&state, who, *id, off, "is deactivated").await
}

pub async fn activate(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Nothing>,
) -> Answer {
    let on = UserChange { is_active: Some(true), ..UserChange::default() };
    change(&state, who, *id, on, "can sign in again").await
}

pub async fn promote(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Confirmed>,
) -> Answer {
    let on = UserChange { is_operator: Some(true), ..UserChange::default() };
    change(&state, who, *id, on, "is now an operator").await
}

pub async fn demote(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Confirmed>,
) -> Answer {
    let off = UserChange { is_operator: Some(false), ..UserChange::default() };
    change(&state, who, *id, off, "is no longer an operator").await
}

/// Creates a reset link. Mails it, or without a mail server shows it in the response to the POST. A repeated
/// submission creates another link, and the first one stops working.
pub async fn reset(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<UserId>,
    _: CheckedForm<Confirmed>,
) -> Answer {
    let (operator, id) = (who.proven_operator()?, *id);
    let (post, public_url) = (MailQueue::of(&state), state.settings.public_url.clone());
    let act = move |tx: &mut Tx<'_>| {
        let token = account::offer_reset(tx, &operator, id)?;
        let user = accounts::find(tx, id)?;
        let shown = post.reset(tx, &public_url, &user, token)?;
        Ok((shown, user))
    };
    match state.pages.tx(Scope::Instance, act).await {
        Ok((None, user)) => {
            let said = format!(
                "A link to set a new password is being mailed to {}. It works once, within a day, and is not shown here.",
                user.email
            );
            see_other(&who.session, urls::USERS, Flash::good(said))
        }
        Ok((Some(token), user)) => {
            let link: Result<_> = who.base.join(&urls::reset_with(&token)).map_err(Error::bug);
            page(&Link { shell: who.shell, email: user.email, link: link?.into() }).map(secretive)
        }
        Err(error) => back(&who.session, urls::USERS, error),
    }
}

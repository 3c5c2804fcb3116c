//! Pages to invite a person into a tenant, and the page that the invitation link leads to.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::super::api_keys::acts::Confirmed;
use super::super::api_keys::secretive;
use super::super::{back, confirmations, page, see_other, sessions, unprocessable};
use super::view::{Created, Guest, InvitationForm, Join, JoinForm, New};
use super::{a, roles};
use crate::domain::{Actor, Error, FieldErrors, InvitationId, Permission, Result, UserId};
use crate::gate::hashing::Requester;
use crate::model::Invitation;
use crate::services::accounts::{NewUser, SignIn};
use crate::services::idempotency::{IdempotencyOutcome, submit_once};
use crate::services::invitations::{self, Offer};
use crate::services::random_token;
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, TENANT, USER, visitor};
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::mail::MailQueue;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::throttle::Attempt;
use crate::web::view::{Choice, Confirmation, When};
use crate::web::{csrf, urls};

const DAYS: [(&str, &str); 3] = [("1", "In a day"), ("7", "In 7 days"), ("30", "In 30 days")];

pub async fn new(state: Data<State>, who: SignedIn) -> Answer {
    who.actor.must(Permission::WriteMembers)?;
    let form =
        InvitationForm { nonce: random_token()?, role: "developer".into(), days: "7".into(), ..Default::default() };
    page(&new_view(&state, who.shell, &who.actor, form, FieldErrors::default()))
}

fn new_view(state: &State, shell: Shell, actor: &Actor, form: InvitationForm, errors: FieldErrors) -> New {
    let is_mailed = MailQueue::of(state).is_open();
    New { roles: roles(actor, &form.role), days: Choice::list(&DAYS, &form.days), shell, form, errors, is_mailed }
}

/// Creates an invitation and shows its link in the response to the POST. A repeated submission creates no second one.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<InvitationForm>) -> Answer {
    who.actor.must(Permission::WriteMembers)?;
    let now = state.clock.now();
    let made = match invitations::InvitationRequest::parse(&form.email, &form.role, ("days", form.days.parse().ok())) {
        Ok(ask) => {
            let (actor, nonce, post) = (who.actor.clone(), form.nonce.clone(), MailQueue::of(&state));
            let (inviter, public_url) = (who.shell.user_name.clone(), state.settings.public_url.clone());
            let create = move |tx: &mut Tx<'_>| {
                let ask = invitations::InvitationRequest { is_mailed: post.is_open(), ..ask };
                let work = |tx: &mut Tx<'_>| {
                    let made = invitations::create(tx, &actor, &ask)?;
                    post.invite(tx, &public_url, &inviter, made)
                };
                let name = |(row, _): &(Invitation, Option<String>)| row.id.to_string();
                submit_once(tx, actor.tenant, ("page:/members/invitations", &nonce), work, name)
            };
            state.pages.tx(Scope::Tenant(who.actor.tenant), create).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(IdempotencyOutcome::First((row, None))) => {
            let said = format!(
                "An invitation is being mailed to {}. Its link works once and is shown nowhere else.",
                row.email
            );
            see_other(&who.session, urls::MEMBERS, Flash::good(said))
        }
        Ok(IdempotencyOutcome::First((row, Some(token)))) => {
            let link = who.base.join(&urls::invitation_with(&token)).map_err(Error::bug)?;
            let view = Created {
                shell: who.shell,
                email: row.email,
                role: a(row.role),
                link: link.into(),
                expires: When::new(row.expires_at, now),
            };
            page(&view).map(secretive)
        }
        Ok(IdempotencyOutcome::Again(_)) => {
            let said = "This form has already created its invitation, and the link was shown or mailed only then. If the link is lost, revoke the invitation and create another one.";
            see_other(&who.session, urls::MEMBERS, Flash::good(said))
        }
        Err(Error::Invalid(errors)) => unprocessable(&new_view(&state, who.shell, &who.actor, form, errors)),
        Err(error) => back(&who.session, urls::MEMBERS, error),
    }
}

pub fn ask(row: &Invitation, csrf: &str) -> Confirmation {
    let says = "Its link stops working. You can invite the same person again.";
    Confirmation::new(
        format!("revoke-invitation-{}", row.id),
        format!("Revoke the invitation for {}?", row.email),
        says,
    )
    .posts("Revoke invitation", urls::invitation_revocation(row.id), csrf, urls::MEMBERS)
}

pub async fn ask_revoke(state: Data<State>, who: SignedIn, id: Path<InvitationId>) -> Answer {
    who.actor.must(Permission::WriteMembers)?;
    let (actor, id) = (who.actor, *id);
    let find = move |tx: &mut Tx<'_>| invitations::find(tx, &actor, id);
    let found = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
    let ask = ask(&found, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn revoke(state: Data<State>, who: SignedIn, id: Path<InvitationId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| invitations::revoke(tx, &actor, id);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(row) => {
            let said = format!("The invitation for {} is revoked.", row.email);
            see_other(&who.session, urls::MEMBERS, Flash::good(said))
        }
        Err(error) => back(&who.session, urls::MEMBERS, error),
    }
}

/// Query of an invitation link.
#[derive(Debug, Deserialize)]
pub struct Link {
    #[serde(default)]
    token: String,
}

/// Shows the invitation that a link leads to. The link's token alone entitles its holder to join.
pub async fn show(state: Data<State>, session: Session, Query(link): Query<Link>) -> Answer {
    let (offer, guest) = offered(&state, &session, &link.token).await?;
    let form = JoinForm { token: link.token, ..JoinForm::default() };
    page(&join_view(&session, offer, guest, form, FieldErrors::default())?).map(secretive)
}

async fn offered(state: &State, session: &Session, token: &str) -> Result<(Offer, Guest)> {
    let (token, user) = (token.to_owned(), session.get::<UserId>(USER).ok().flatten());
    let read = move |tx: &mut Tx<'_>| {
        let offer = invitations::offer(tx, &token)?;
        let who = user.map(|user| crate::services::accounts::find(tx, user)).transpose()?;
        Ok((offer, who.filter(|who| who.is_active)))
    };
    let (offer, who) = state.pages.read(Scope::Instance, read).await?;
    let guest = match (&who, &offer.user) {
        (Some(who), _) if who.email == offer.invitation.email => Guest::Expected,
        (Some(who), _) => Guest::Other(who.email.clone()),
        (None, Some(_)) => Guest::Known,
        (None, None) => Guest::New,
    };
    Ok((offer, guest))
}

fn join_view(session: &Session, offer: Offer, guest: Guest, form: JoinForm, errors: FieldErrors) -> Result<Join> {
    Ok(Join {
        csrf: csrf::token(session)?,
        tenant: offer.tenant.name,
        email: offer.invitation.email,
        role: a(offer.invitation.role),
        sign_in: urls::sign_in_back_to(&urls::invitation_with(&form.token)),
        guest,
        form,
        errors,
    })
}

/// Accepts an invitation for the signed-in user, or creates a user for it.
pub async fn accept(
    request: HttpRequest,
    state: Data<State>,
    session: Session,
    CheckedForm(form): CheckedForm<JoinForm>,
) -> Answer {
    let (token, now, who) = (form.token.clone(), state.clock.now(), visitor(&request, &state));
    let trial = state.throttle.begin(&Attempt::with_link(who.ip), now)?;
    let (offer, guest) = offered(&state, &session, &form.token).await?;
    let joined = match session.get::<UserId>(USER).ok().flatten() {
        Some(user) if guest != Guest::New => {
            let accept = move |tx: &mut Tx<'_>| invitations::accept(tx, &who, &token, user);
            state.pages.tx(Scope::Instance, accept).await.map(|invitation| (invitation, None))
        }
        _ => {
            let (email, name, password) = (offer.invitation.email.clone(), form.name.clone(), form.password.clone());
            let known = [offer.tenant.name.clone(), offer.tenant.slug.clone(), state.host()];
            let parse = move || {
                let known = known.each_ref().map(String::as_str);
                NewUser::parse(&email, Some(&name), &password, false, &known)
            };
            let requester = Requester::Known(offer.invitation.email.clone());
            match state.run_blocking(&requester, parse).await {
                Ok(ask) => {
                    let accept = move |tx: &mut Tx<'_>| invitations::accept_as_new(tx, &who, &token, &ask);
                    state.pages.tx(Scope::Instance, accept).await.map(|(row, user)| (row, Some(user)))
                }
                Err(error) => Err(error),
            }
        }
    };
    trial.take_back();
    match joined {
        Ok((invitation, new)) => {
            if let Some(user) = new {
                sessions::begin(&request, &state, &session, &SignIn::of(&user, false))?;
            }
            session.insert(TENANT, invitation.tenant_id).map_err(|error| Error::bug(error.to_string()))?;
            see_other(&session, urls::OVERVIEW, Flash::good(format!("Welcome to {}.", offer.tenant.name)))
        }
        Err(Error::Invalid(errors)) => {
            let form = JoinForm { password: String::new(), ..form };
            unprocessable(&join_view(&session, offer, guest, form, errors)?).map(secretive)
        }
        Err(error) => Err(error.into()),
    }
}

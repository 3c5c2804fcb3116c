//! What can be done to a webhook with one button, its secret included.

use actix_web::web::{Data, Path};
use chrono::TimeDelta;
use serde::Deserialize;

use super::show::Asks;
use super::{detail, found};
use crate::domain::{Actor, Error, FieldErrors, Permission, Result, WebhookId};
use crate::model::Webhook;
use crate::services::webhooks;
use crate::store::Scope;
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::pages::api_keys::acts::Confirmed;
use crate::web::pages::api_keys::secretive;
use crate::web::pages::{back, confirmations, page, see_other, unprocessable};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::Ask;

pub async fn ask_pause(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, |actor, _| actor.must(Permission::WriteWebhooks), |asks| asks.pause).await
}

pub async fn ask_rotate(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    let may = |actor: &Actor, webhook: &Webhook| actor.must_own(Permission::RevealSecrets, webhook.user_id);
    ask(state, who, *id, may, |asks| asks.rotate).await
}

pub async fn ask_delete(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, |actor, _| actor.must(Permission::DeleteWebhooks), |asks| asks.delete).await
}

/// Whether somebody may do what a question asks about.
type May = fn(&Actor, &Webhook) -> Result<()>;

async fn ask(state: Data<State>, who: SignedIn, id: WebhookId, may: May, pick: fn(Asks) -> Ask) -> Answer {
    let webhook = find(&state, &who.actor, id).await?;
    may(&who.actor, &webhook)?;
    let ask = pick(Asks::new(&webhook, &who.shell.csrf));
    page(&confirmations::New::of(who.shell, ask))
}

async fn find(state: &State, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    let actor = actor.clone();
    state.pages.read(Scope::Tenant(actor.tenant), move |conn| webhooks::find(conn, &actor, id)).await
}

pub async fn resume(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let act = move |conn: &mut _| webhooks::activate(conn, &actor, id, now);
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::webhook(id), Flash::good(format!("{} gets events again.", webhook.name)))
}

pub async fn pause(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let act = move |conn: &mut _| webhooks::deactivate(conn, &actor, id, now);
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::webhook(id), Flash::good(format!("{} is paused.", webhook.name)))
}

pub async fn delete(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Confirmed>,
) -> Answer {
    let webhook = find(&state, &who.actor, *id).await?;
    if form.confirmation.trim() != webhook.name.trim() {
        let asks = Asks::new(&webhook, &who.shell.csrf);
        return unprocessable(&confirmations::New::of(who.shell, asks.delete.refused()));
    }
    let (actor, now) = (who.actor, state.clock.now());
    let act = move |conn: &mut _| webhooks::delete(conn, &actor, webhook.id, now);
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::WEBHOOKS, Flash::good(format!("{} is deleted.", webhook.name)))
}

/// The secret in clear on this answer alone; a reload asks the browser's user before it looks again.
pub async fn reveal(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, vault, id, now) = (who.actor, state.vault.clone(), *id, state.clock.now());
    let act = move |conn: &mut _| {
        let secret = webhooks::reveal_secret(conn, &vault, &actor, id, now)?;
        Ok((found(conn, &actor, id, now)?, secret.reveal().to_owned()))
    };
    let (found, secret) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    page(&detail(who.shell, found, now, Some(secret), String::new(), FieldErrors::default())).map(secretive)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    overlap_seconds: i64,
}

pub async fn rotate(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Rotation>,
) -> Answer {
    let (actor, vault, id, now) = (who.actor, state.vault.clone(), *id, state.clock.now());
    let overlap = TimeDelta::try_seconds(form.overlap_seconds).unwrap_or(TimeDelta::MAX);
    let act = move |conn: &mut _| webhooks::rotate_secret(conn, &vault, &actor, id, overlap, None, now);
    if let Err(error) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        return back(&who.session, urls::webhook(id), error);
    }
    see_other(
        &who.session,
        urls::webhook(id),
        Flash::good("A new secret signs from now on. Reveal it to give it to the receiver."),
    )
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Test {
    #[serde(rename = "type")]
    kind: String,
}

pub async fn test(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Test>,
) -> Answer {
    let (actor, id, now) = (who.actor.clone(), *id, state.clock.now());
    let kind = form.kind.trim().to_owned();
    let act = move |conn: &mut _| webhooks::send_test(conn, &actor, id, Some(&kind), None, now);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(published) => {
            let said = format!("{} is on its way to this webhook alone.", published.kind);
            see_other(&who.session, urls::event(published.id), Flash::good(said))
        }
        Err(Error::Invalid(errors)) => {
            let actor = who.actor;
            let find = move |conn: &mut _| found(conn, &actor, id, now);
            let found = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
            unprocessable(&detail(who.shell, found, now, None, form.kind, errors))
        }
        Err(error) => back(&who.session, urls::webhook(id), error),
    }
}

//! Changes to a key by one button. Without scripts, a page of its own asks for confirmation instead of the dialog.

use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::show::Asks;
use crate::domain::{Actor, ApiKeyId, Error, Permission, Result};
use crate::model::ApiKey;
use crate::services::api_keys;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::pages::{back, confirmations, page, see_other, unprocessable};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Confirmation, text};

/// Form of a confirmation, with the text that the user typed to confirm.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Confirmed {
    pub confirmation: String,
}

pub async fn ask_disable(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>) -> Answer {
    ask(state, who, *id, |asks| asks.disable).await
}

pub async fn ask_revoke(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>) -> Answer {
    ask(state, who, *id, |asks| asks.revoke).await
}

pub async fn ask_delete(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>) -> Answer {
    ask(state, who, *id, |asks| asks.delete).await
}

async fn ask(state: Data<State>, who: SignedIn, id: ApiKeyId, pick: fn(Asks) -> Confirmation) -> Answer {
    let key = find(&state, &who.actor, id).await?;
    who.actor.must_own(Permission::WriteKeys, key.user_id)?;
    let ask = pick(Asks::new(&key, &who.shell.csrf));
    page(&confirmations::New::of(who.shell, ask))
}

async fn find(state: &State, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    let actor = actor.clone();
    state.pages.read(Scope::Tenant(actor.tenant), move |tx| api_keys::find(tx, &actor, id)).await
}

pub async fn enable(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| api_keys::activate(tx, &actor, id);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(key) => see_other(&who.session, urls::key(id), Flash::good(format!("{} is enabled again.", key.name))),
        Err(error) => back(&who.session, urls::key(id), error),
    }
}

pub async fn disable(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| api_keys::deactivate(tx, &actor, id);
    let key = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    let said = format!("{} is disabled. Programs that use it are refused from now on.", key.name);
    see_other(&who.session, urls::key(key.id), Flash::good(said))
}

/// Form to revoke a key.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    reason: String,
}

pub async fn revoke(
    state: Data<State>,
    who: SignedIn,
    id: Path<ApiKeyId>,
    CheckedForm(form): CheckedForm<Revocation>,
) -> Answer {
    let (actor, id, reason) = (who.actor.clone(), *id, form.reason.clone());
    let act = move |tx: &mut Tx<'_>| api_keys::revoke(tx, &actor, id, Some(&reason));
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(key) => {
            see_other(&who.session, urls::key(key.id), Flash::good(format!("{} is revoked permanently.", key.name)))
        }
        Err(Error::Invalid(errors)) => {
            let key = find(&state, &who.actor, id).await?;
            let says = text::refusal("reason", errors.of("reason").unwrap_or("is invalid"));
            let ask = Asks::new(&key, &who.shell.csrf).revoke.note_refused(form.reason, says);
            unprocessable(&confirmations::New::of(who.shell, ask))
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn restore(state: Data<State>, who: SignedIn, id: Path<ApiKeyId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let act = move |tx: &mut Tx<'_>| api_keys::restore(tx, &actor, id);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(key) => {
            let said = format!("{} is restored in its former state: {}.", key.name, key.state(now));
            see_other(&who.session, urls::key(id), Flash::good(said))
        }
        Err(error) => back(&who.session, urls::key(id), error),
    }
}

pub async fn delete(
    state: Data<State>,
    who: SignedIn,
    id: Path<ApiKeyId>,
    CheckedForm(form): CheckedForm<Confirmed>,
) -> Answer {
    let key = find(&state, &who.actor, *id).await?;
    if form.confirmation.trim() != key.name.trim() {
        let asks = Asks::new(&key, &who.shell.csrf);
        return unprocessable(&confirmations::New::of(who.shell, asks.delete.refused()));
    }
    let actor = who.actor;
    let act = move |tx: &mut Tx<'_>| api_keys::delete(tx, &actor, key.id);
    let key = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(
        &who.session,
        urls::KEYS,
        Flash::good(format!(
            "{} is deleted. You have 30 days to restore it: filter the list by the state Deleted.",
            key.name
        )),
    )
}

//! Secrets, key pairs and header values of a webhook: revealing, rotating and removing them.

use actix_web::web::{Data, Path};
use chrono::TimeDelta;
use serde::Deserialize;

use super::acts::ask;
use super::{OnThisPage, detail, found};
use crate::domain::{Permission, Result, WebhookId};
use crate::services::webhooks::{headers, secrets};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::pages::api_keys::acts::Confirmed;
use crate::web::pages::api_keys::secretive;
use crate::web::pages::{back, page, see_other};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;

pub async fn ask_rotate(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, Permission::RevealSecrets, |asks| asks.rotate).await
}

pub async fn ask_rotate_key(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, Permission::RevealSecrets, |asks| asks.rotate_key).await
}

pub async fn ask_remove_key(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, Permission::RevealSecrets, |asks| asks.remove_key).await
}

/// Shows the secret in the response to the POST only. On a reload, the browser asks the user before it sends the form
/// again.
pub async fn reveal(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, vault, id, now) = (who.actor, state.vault.clone(), *id, state.clock.now());
    let act = move |tx: &mut Tx<'_>| {
        let secret = secrets::reveal(tx, &vault, &actor, id)?;
        Ok((found(tx, &actor, id, now)?, secret.reveal().to_owned()))
    };
    let (found, secret) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    let once = OnThisPage { secret: Some(secret), ..OnThisPage::default() };
    page(&detail(who.shell, found, now, once)).map(secretive)
}

/// Shows the values of the webhook's headers, in the response to the POST only.
pub async fn reveal_headers(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, vault, id, now) = (who.actor, state.vault.clone(), *id, state.clock.now());
    let act = move |tx: &mut Tx<'_>| {
        let values = headers::reveal(tx, &vault, &actor, id)?;
        Ok((found(tx, &actor, id, now)?, values))
    };
    let (found, values) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    let once = OnThisPage { headers: Some(values), ..OnThisPage::default() };
    page(&detail(who.shell, found, now, once)).map(secretive)
}

/// Form to rotate a secret or key pair.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    overlap_seconds: i64,
}

impl Rotation {
    fn overlap(&self) -> TimeDelta {
        TimeDelta::try_seconds(self.overlap_seconds).unwrap_or(TimeDelta::MAX)
    }
}

pub async fn rotate(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Rotation>,
) -> Answer {
    let (actor, vault, id) = (who.actor.clone(), state.vault.clone(), *id);
    let act = move |tx: &mut Tx<'_>| secrets::rotate(tx, &vault, &actor, id, form.overlap(), None);
    done(&state, &who, id, act, "A new secret signs from now on. Reveal it to give it to the receiver.").await
}

/// Replaces the key pair, or adds the first one.
pub async fn rotate_key(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Rotation>,
) -> Answer {
    let (actor, vault, id) = (who.actor.clone(), state.vault.clone(), *id);
    let act = move |tx: &mut Tx<'_>| secrets::rotate_key(tx, &vault, &actor, id, form.overlap(), None);
    done(&state, &who, id, act, "A new key pair signs from now on. Give its public key to the receiver.").await
}

pub async fn remove_key(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor.clone(), *id);
    let act = move |tx: &mut Tx<'_>| secrets::remove_key(tx, &actor, id);
    done(&state, &who, id, act, "No key pair signs any longer. The signing secret still signs.").await
}

/// Runs the change and reports its result on the webhook's page.
async fn done<T: Send + 'static>(
    state: &State,
    who: &SignedIn,
    id: WebhookId,
    act: impl FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    said: &'static str,
) -> Answer {
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(_) => see_other(&who.session, urls::webhook(id), Flash::good(said)),
        Err(error) => back(&who.session, urls::webhook(id), error),
    }
}

//! Changes to a webhook by one button.

use std::time::Duration;

use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::show::Asks;
use super::{OnThisPage, changeable, detail, found};
use crate::domain::page::Paging;
use crate::domain::{Actor, Error, EventId, Permission, Result, TenantId, WebhookId};
use crate::model::Delivery;
use crate::services::deliveries::{self, DeliveryFilter};
use crate::services::webhooks;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::pages::api_keys::acts::Confirmed;
use crate::web::pages::{back, confirmations, page, see_other, unprocessable};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Confirmation, text};

/// Number of polls for the result of a probe or test before the page gives up waiting.
const PROBE_LOOKS: u32 = 30;
/// Pause between two polls.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

pub async fn ask_pause(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, Permission::WriteWebhooks, |asks| asks.pause).await
}

pub async fn ask_delete(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    ask(state, who, *id, Permission::DeleteWebhooks, |asks| asks.delete).await
}

/// Shows the confirmation page of a change, if the user may make it.
pub async fn ask(
    state: Data<State>,
    who: SignedIn,
    id: WebhookId,
    permission: Permission,
    pick: fn(Asks) -> Confirmation,
) -> Answer {
    let webhook = changeable(&state, &who, id, permission).await?;
    let ask = pick(Asks::new(&webhook, &who.shell.csrf));
    page(&confirmations::New::of(who.shell, ask))
}

/// Form to resume a webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resuming {
    /// True: activate without sending a probe first.
    anyway: bool,
}

/// Resumes a webhook. If a user paused it, this takes effect at once; if Gatepost disabled it, a probe must succeed
/// first.
pub async fn resume(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Resuming>,
) -> Answer {
    let (actor, id) = (who.actor.clone(), *id);
    let act = move |tx: &mut Tx<'_>| {
        let webhook = webhooks::find(tx, &actor, id)?;
        match webhook.disabled_reason.is_some() && !form.anyway {
            true => webhooks::probe::begin(tx, &actor, id),
            false => webhooks::activate(tx, &actor, id),
        }
    };
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    let said = if webhook.is_active { resumed(&webhook.name) } else { answer_to_probe(&state, &who.actor, id).await? };
    see_other(&who.session, urls::webhook(id), said)
}

fn resumed(name: &str) -> Flash {
    Flash::good(format!("{name} receives events again."))
}

/// Waits up to 3 seconds for the probe's result and returns a message.
async fn answer_to_probe(state: &State, actor: &Actor, id: WebhookId) -> Result<Flash> {
    for _ in 0..PROBE_LOOKS {
        tokio::time::sleep(PROBE_PAUSE).await;
        let (asking, scope) = (actor.clone(), Scope::Tenant(actor.tenant));
        let (webhook, probe) = state.pages.read(scope, move |tx| webhooks::probe::look(tx, &asking, id)).await?;
        match probe {
            _ if webhook.is_active => return Ok(resumed(&webhook.name)),
            Some(probe) if probe.state.is_final() => {
                let came = probe.last_error.as_deref().map(text::sentence).unwrap_or_default();
                return Ok(Flash::bad(format!("{} is still disabled: the test request failed. {came}", webhook.name)));
            }
            _ => {}
        }
    }
    Ok(Flash::good("A test request is being sent. The webhook resumes by itself after a 2xx response."))
}

pub async fn pause(state: Data<State>, who: SignedIn, id: Path<WebhookId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| webhooks::deactivate(tx, &actor, id);
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::webhook(id), Flash::good(format!("{} is paused.", webhook.name)))
}

pub async fn delete(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<Confirmed>,
) -> Answer {
    let webhook = changeable(&state, &who, *id, Permission::DeleteWebhooks).await?;
    if form.confirmation.trim() != webhook.name.trim() {
        let asks = Asks::new(&webhook, &who.shell.csrf);
        return unprocessable(&confirmations::New::of(who.shell, asks.delete.refused()));
    }
    let actor = who.actor;
    let act = move |tx: &mut Tx<'_>| webhooks::delete(tx, &actor, webhook.id);
    let webhook = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::WEBHOOKS, Flash::good(format!("{} is deleted.", webhook.name)))
}

/// Waits up to 3 seconds for the test event's final delivery.
async fn answer_to_test(state: &State, tenant: TenantId, event: EventId) -> Result<Option<Delivery>> {
    for _ in 0..PROBE_LOOKS {
        tokio::time::sleep(PROBE_PAUSE).await;
        let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
        let scope = Scope::Tenant(tenant);
        let find = move |tx: &mut Tx<'_>| deliveries::list(tx, scope, &filter, &Paging::default());
        let sent = state.pages.read(scope, find).await?.rows.into_iter().next();
        if let Some(delivery) = sent.filter(|delivery| delivery.state.is_final()) {
            return Ok(Some(delivery));
        }
    }
    Ok(None)
}

fn came_of_test(kind: &str, delivery: &Delivery) -> Flash {
    match (&delivery.last_error, delivery.last_status) {
        (Some(error), _) => Flash::bad(format!("{kind} was not accepted. {}", text::sentence(error))),
        (None, Some(status)) => Flash::good(format!("{kind} got the response {status}.")),
        (None, None) => Flash::bad(format!("{kind} was not sent.")),
    }
}

/// Form to send a test event.
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
    let act = move |tx: &mut Tx<'_>| webhooks::send_test(tx, &actor, id, Some(&kind), None);
    match state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        Ok(published) => match answer_to_test(&state, who.shell.tenant.id, published.id).await? {
            Some(delivery) => {
                see_other(&who.session, urls::delivery(delivery.id), came_of_test(&published.kind, &delivery))
            }
            None => {
                let said = format!("{} is being sent to this webhook only.", published.kind);
                see_other(&who.session, urls::event(published.id), Flash::good(said))
            }
        },
        Err(Error::Invalid(errors)) => {
            let actor = who.actor;
            let find = move |tx: &mut Tx<'_>| found(tx, &actor, id, now);
            let found = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
            let once = OnThisPage { test_type: form.kind, errors, ..OnThisPage::default() };
            unprocessable(&detail(who.shell, found, now, once))
        }
        Err(error) => back(&who.session, urls::webhook(id), error),
    }
}

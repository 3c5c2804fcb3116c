//! Suspension, resumption, deletion and restoration of a tenant by an operator. Without scripts, a page of its own
//! asks for confirmation instead of the dialog.

use actix_web::web::{Data, Path};
use serde::Deserialize;

use super::found;
use crate::domain::{Error, Result, TenantId};
use crate::model::Tenant;
use crate::services::tenants::life;
use crate::store::{Scope, Tx};
use crate::web::auth::{SignedIn, SignedInAnyTenant};
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::pages::api_keys::acts::Confirmed;
use crate::web::pages::{back, confirmations, page, see_other, unprocessable};
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Confirmation, text};

pub fn suspension(tenant: &Tenant, csrf: &str) -> Confirmation {
    let says = "Its API keys are refused at once, with status 403. Deliveries wait until you resume it; none is lost. Its members can still sign in and read the reason.";
    let (name, id) = (&tenant.name, tenant.id);
    let ask = Confirmation::new(format!("suspend-{id}"), format!("Suspend {name}?"), says)
        .posts("Suspend tenant", urls::tenant_act(id, "suspension"), csrf, urls::tenant(id))
        .noting("reason", "Reason", "Shown to its members.");
    Confirmation {
        note: ask
            .note
            .map(|note| crate::web::view::Note { value: tenant.suspended_reason.clone().unwrap_or_default(), ..note }),
        ..ask
    }
}

pub fn deletion(tenant: &Tenant, csrf: &str) -> Confirmation {
    let says = "Its keys and access tokens stop working at once, and its members lose access. You have 30 days to restore it. Then everything is erased: keys, webhooks, events, usage and audit log.";
    let (name, id) = (&tenant.name, tenant.id);
    Confirmation::new(format!("delete-{id}"), format!("Delete {name}?"), says)
        .posts("Delete tenant", urls::tenant_act(id, "deletion"), csrf, urls::tenant(id))
        .typed(tenant.slug.as_str())
}

async fn question(state: &State, who: SignedIn, id: TenantId, ask: fn(&Tenant, &str) -> Confirmation) -> Answer {
    who.operator()?;
    let (tenant, _) = found(state, id).await?;
    let ask = ask(&tenant, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn ask_suspend(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<TenantId>) -> Answer {
    question(&state, who, *id, suspension).await
}

pub async fn ask_delete(state: Data<State>, SignedInAnyTenant(who): SignedInAnyTenant, id: Path<TenantId>) -> Answer {
    question(&state, who, *id, deletion).await
}

/// Runs the change and invalidates this process's caches before the response.
async fn act(state: &State, work: impl FnOnce(&mut Tx<'_>) -> Result<Tenant> + Send + 'static) -> Result<Tenant> {
    let tenant = state.pages.tx(Scope::Instance, work).await?;
    Ok(tenant)
}

/// Form to suspend a tenant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Suspension {
    reason: String,
}

pub async fn suspend(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<TenantId>,
    CheckedForm(form): CheckedForm<Suspension>,
) -> Answer {
    let (operator, id, reason) = (who.operator()?, *id, form.reason.clone());
    let work = move |tx: &mut Tx<'_>| life::suspend(tx, &operator, id, Some(&reason));
    match act(&state, work).await {
        Ok(tenant) => {
            let said = format!("{} is suspended. Its keys are refused from now on.", tenant.name);
            see_other(&who.session, urls::tenant(id), Flash::good(said))
        }
        Err(Error::Invalid(errors)) => {
            let (tenant, _) = found(&state, id).await?;
            let says = text::refusal("reason", errors.of("reason").unwrap_or("is invalid"));
            let ask = suspension(&tenant, &who.shell.csrf).note_refused(form.reason, says);
            unprocessable(&confirmations::New::of(who.shell, ask))
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn resume(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<TenantId>,
    _: CheckedForm<Nothing>,
) -> Answer {
    let (operator, id) = (who.operator()?, *id);
    let tenant = act(&state, move |tx| life::resume(tx, &operator, id)).await?;
    let said = format!("{} is active again. Waiting deliveries are being sent.", tenant.name);
    see_other(&who.session, urls::tenant(id), Flash::good(said))
}

pub async fn delete(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<TenantId>,
    CheckedForm(form): CheckedForm<Confirmed>,
) -> Answer {
    let (operator, id) = (who.operator()?, *id);
    let (tenant, _) = found(&state, id).await?;
    if form.confirmation.trim() != tenant.slug {
        let ask = deletion(&tenant, &who.shell.csrf).refused();
        return unprocessable(&confirmations::New::of(who.shell, ask));
    }
    let tenant = act(&state, move |tx| life::delete(tx, &operator, id)).await?;
    let said = format!("{} is deleted. You have 30 days to restore it here.", tenant.name);
    see_other(&who.session, urls::tenant(id), Flash::good(said))
}

pub async fn restore(
    state: Data<State>,
    SignedInAnyTenant(who): SignedInAnyTenant,
    id: Path<TenantId>,
    _: CheckedForm<Nothing>,
) -> Answer {
    let (operator, id) = (who.operator()?, *id);
    match act(&state, move |tx| life::restore(tx, &operator, id)).await {
        Ok(tenant) => {
            let said = format!("{} is restored in its former state: {}.", tenant.name, tenant.state());
            see_other(&who.session, urls::tenant(id), Flash::good(said))
        }
        Err(error) => back(&who.session, urls::tenant(id), error),
    }
}

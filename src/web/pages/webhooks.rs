//! Pages about webhooks: the list, the form, and the page of one webhook.

pub mod acts;
pub mod form;
pub mod secrets;
pub mod show;
pub mod snippets;
pub mod view;

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::paging::PagePlace;
use super::spans::{ChartSpan, TimeQuery};
use super::{back, page, rendered, see_other, unprocessable};
use crate::domain::page::{PageSize, Paging};
use crate::domain::webhook::WebhookState;
use crate::domain::{Actor, Error, FieldErrors, Permission, Result, WebhookId};
use crate::model::{Delivery, PublicKey, Webhook};
use crate::services::deliveries::DeliveryFilter;
use crate::services::idempotency::{IdempotencyOutcome, submit_once};
use crate::services::webhooks::{self, WebhookFilter, WebhookStats};
use crate::services::{deliveries, figures};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Choice, Pager, filter, form_version, text};
use view::{Edit, Index, New, Show, WebhookForm};

const ROWS: i64 = 25;
const LATEST: i64 = 8;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    q: String,
    state: String,
    #[serde(flatten)]
    place: PagePlace,
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadWebhooks)?;
    let (typed, mut ignored) = (asked.q.trim().to_owned(), asked.place.noted::<WebhookId>());
    let state_asked = filter::read(&mut ignored, "state", &asked.state, str::parse);
    who.shell.note_ignored(&ignored);
    let wanted = WebhookFilter { text: filter::text(&typed), state: state_asked };
    let (paging, now) = (asked.place.paging::<WebhookId>(ROWS), state.clock.now());
    let (actor, scope) = (who.actor, Scope::Tenant(who.shell.tenant.id));
    let list = move |tx: &mut Tx<'_>| {
        let page = webhooks::list(tx, scope, &wanted, &paging)?;
        let ids: Vec<_> = page.rows.iter().map(|webhook| webhook.id).collect();
        let figures = figures::of_webhooks(tx, &actor, &ids)?;
        Ok((page, figures))
    };
    let (found, figures) = state.pages.read(scope, list).await?;
    let set = [("q", typed.as_str()), ("state", &asked.state)];
    page(&Index {
        pager: Pager::new(urls::WEBHOOKS, &set, &found),
        chips: filter::chips(urls::WEBHOOKS, &set, |name, value| match name {
            "q" => ("Search".to_owned(), value.to_owned()),
            _ => ("Status".to_owned(), text::capitalized(value)),
        }),
        states: states(&asked.state),
        rows: found.rows.into_iter().map(|webhook| show::row(webhook, &figures, now)).collect(),
        search: typed,
        shell: who.shell,
    })
}

fn states(chosen: &str) -> Vec<Choice> {
    let each =
        WebhookState::ALL.iter().map(|state| Choice::new(state.as_str(), text::capitalized(state.as_str()), chosen));
    std::iter::once(Choice::new("", "Any", chosen)).chain(each).collect()
}

pub async fn new(who: SignedIn) -> Answer {
    who.actor.must(Permission::WriteWebhooks)?;
    page(&new_view(who.shell, WebhookForm::fresh()?, FieldErrors::default()))
}

fn new_view(shell: Shell, form: WebhookForm, errors: FieldErrors) -> New {
    const FOLDED: [&str; 6] =
        ["payload_format", "signature_style", "secret", "timeout_seconds", "max_in_flight", "headers"];
    let is_detailed = form.is_detailed() || FOLDED.iter().any(|field| errors.of(field).is_some());
    New { shell, fields: form.fields(), form, errors, is_detailed }
}

/// Creates a webhook. A repeated submission creates no second one and redirects to the first.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<WebhookForm>) -> Answer {
    let made = match form.ask() {
        Ok(ask) => {
            let (actor, vault, policy) = (who.actor, state.vault.clone(), state.policy.clone());
            let nonce = form.nonce.clone();
            let make = move |tx: &mut Tx<'_>| {
                let work = |tx: &mut Tx<'_>| webhooks::subscribe(tx, &vault, &policy, &actor, &ask);
                submit_once(tx, actor.tenant, ("page:/webhooks", &nonce), work, |made| made.webhook.id.to_string())
            };
            state.pages.tx(Scope::Tenant(who.shell.tenant.id), make).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(IdempotencyOutcome::First(made)) => {
            let said = format!("{} is ready. Reveal its signing secret, then send a test event.", made.webhook.name);
            see_other(&who.session, urls::webhook(made.webhook.id), Flash::good(said))
        }
        Ok(IdempotencyOutcome::Again(id)) => {
            let said = Flash::good("This form has already created this webhook.");
            see_other(&who.session, format!("{}/{id}", urls::WEBHOOKS), said)
        }
        // Secrets that the user entered are not sent back.
        Err(Error::Invalid(errors)) => unprocessable(&new_view(who.shell, form.without_secrets(), errors)),
        Err(error) => back(&who.session, urls::WEBHOOKS, error),
    }
}

/// Webhook with all data of its page.
pub struct WebhookDetail {
    webhook: Webhook,
    keys: Vec<PublicKey>,
    /// Test delivery whose success activates the webhook again.
    probe: Option<Delivery>,
    stats: Option<WebhookStats>,
    stretch: ChartSpan,
    tally: figures::Deliveries,
    deliveries: Vec<Delivery>,
}

/// Returns a webhook with data of the last 24 hours.
pub fn found(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId, now: DateTime<Utc>) -> Result<WebhookDetail> {
    found_in(tx, actor, id, ChartSpan::named("24h", now))
}

fn found_in(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId, stretch: ChartSpan) -> Result<WebhookDetail> {
    let scope = Scope::Tenant(actor.tenant);
    let filter = DeliveryFilter { webhook: Some(id), ..DeliveryFilter::default() };
    let latest = Paging { size: PageSize::new(LATEST).unwrap_or_default(), ..Paging::default() };
    let (webhook, probe) = webhooks::probe::look(tx, actor, id)?;
    Ok(WebhookDetail {
        webhook,
        probe,
        stretch,
        keys: webhooks::secrets::public_keys(tx, scope, &[id])?,
        stats: webhooks::stats(tx, scope, &[id])?.pop(),
        tally: figures::deliveries(tx, actor, Some(id), stretch.since(), stretch.step_seconds())?,
        deliveries: deliveries::list(tx, scope, &filter, &latest)?.rows,
    })
}

/// Content of a single response, never shown again by a reload: plain secrets and refused input.
#[derive(Default)]
pub struct OnThisPage {
    pub secret: Option<String>,
    pub headers: Option<BTreeMap<String, String>>,
    pub test_type: String,
    pub errors: FieldErrors,
}

/// Returns the page of a webhook, with content for this response only.
pub fn detail(shell: Shell, found: WebhookDetail, now: DateTime<Utc>, once: OnThisPage) -> Show {
    let test_type = if once.test_type.is_empty() && once.errors.is_empty() {
        "webhook.test".to_owned()
    } else {
        once.test_type.clone()
    };
    show::show(show::Context { shell, found, now, once: OnThisPage { test_type, ..once } })
}

pub async fn show(
    state: Data<State>,
    mut who: SignedIn,
    id: Path<WebhookId>,
    Query(asked): Query<TimeQuery>,
) -> Answer {
    who.shell.note_ignored(&asked.ignored());
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let stretch = asked.stretch(now);
    let find = move |tx: &mut Tx<'_>| found_in(tx, &actor, id, stretch);
    let found = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
    page(&detail(who.shell, found, now, OnThisPage::default()))
}

pub async fn edit(state: Data<State>, who: SignedIn, id: Path<WebhookId>) -> Answer {
    let webhook = changeable(&state, &who, *id, Permission::WriteWebhooks).await?;
    page(&edit_view(who.shell, &webhook, WebhookForm::of(&webhook), FieldErrors::default()))
}

pub async fn update(
    state: Data<State>,
    who: SignedIn,
    id: Path<WebhookId>,
    CheckedForm(form): CheckedForm<WebhookForm>,
) -> Answer {
    let before = changeable(&state, &who, *id, Permission::WriteWebhooks).await?;
    let changed = match form.ask() {
        Ok(ask) => {
            let (actor, id) = (who.actor, before.id);
            let (vault, policy, seen) = (state.vault.clone(), state.policy.clone(), form_version::parse(&form.seen));
            let change = move |tx: &mut Tx<'_>| {
                seen.map_or(Ok(()), |seen| webhooks::must_be_as_seen(tx, &actor, id, seen))?;
                webhooks::update(tx, &vault, &policy, &actor, id, &ask)
            };
            state.pages.tx(Scope::Tenant(who.shell.tenant.id), change).await
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(webhook) => {
            see_other(&who.session, urls::webhook(webhook.id), Flash::good(format!("{} is saved.", webhook.name)))
        }
        Err(Error::Invalid(errors)) => unprocessable(&edit_view(who.shell, &before, form.without_secrets(), errors)),
        // The page of the webhook shows the other user's change. Submitting the form again then overwrites it on
        // purpose.
        Err(Error::Conflict(_)) if form_version::parse(&form.seen).is_some_and(|seen| seen != before.updated_at) => {
            let again = WebhookForm { seen: form_version::seen(before.updated_at), ..form.without_secrets() };
            let view = edit_view(who.shell, &before, again, FieldErrors::default());
            rendered(StatusCode::CONFLICT, &Edit { is_stale: true, ..view })
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the webhook if the user may make this kind of change to it.
async fn changeable(state: &State, who: &SignedIn, id: WebhookId, permission: Permission) -> Result<Webhook> {
    who.actor.must(permission)?;
    let actor = who.actor.clone();
    let webhook = state.pages.read(Scope::Tenant(actor.tenant), move |tx| webhooks::find(tx, &actor, id)).await?;
    who.actor.must_own(permission, webhook.user_id)?;
    Ok(webhook)
}

fn edit_view(shell: Shell, webhook: &Webhook, form: WebhookForm, errors: FieldErrors) -> Edit {
    Edit { is_stale: false, shell, id: webhook.id.0, name: webhook.name.clone(), fields: form.fields(), form, errors }
}

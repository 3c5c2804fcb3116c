//! Pages about deliveries: the list, and the timeline of one delivery.

pub mod show;
pub mod view;

use std::collections::BTreeSet;

use actix_web::web::{Data, Path};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use serde::Deserialize;

use super::api_keys::acts::Confirmed;
use super::paging::PagePlace;
use super::{back, confirmations, page, see_other};
use crate::domain::delivery::DeliveryState;
use crate::domain::page::{Page, PageSize, Paging};
use crate::domain::time::{self, Time};
use crate::domain::{DeliveryId, FieldErrors, Permission, Rejection, Result, TenantId, WebhookId};
use crate::model::{Delivery, Webhook};
use crate::services::deliveries::{self, DeliveryFilter};
use crate::services::webhooks::{self, WebhookFilter};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::{CheckedForm, Nothing};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Choice, Pager, filter, text};
use show::Names;
use view::Index;

const ROWS: i64 = 50;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    #[serde(rename = "type")]
    kind: String,
    state: String,
    webhook: String,
    event: String,
    status: String,
    since: String,
    until: String,
    #[serde(flatten)]
    place: PagePlace,
}

impl Listing {
    /// Returns the filter, and an error for each invalid parameter.
    fn filter(&self, skew: TimeDelta) -> (DeliveryFilter, FieldErrors) {
        let mut ignored = self.place.noted::<DeliveryId>();
        let filter = DeliveryFilter {
            webhook: filter::read(&mut ignored, "webhook", &self.webhook, str::parse),
            event: filter::read(&mut ignored, "event", &self.event, str::parse),
            state: filter::read(&mut ignored, "state", &self.state, str::parse),
            kind: filter::text(&self.kind),
            status: filter::read(&mut ignored, "status", &self.status, str::parse),
            since: filter::read(&mut ignored, "since", &self.since, moment),
            until: filter::read(&mut ignored, "until", &self.until, moment),
            skew,
        };
        (filter, ignored)
    }

    fn parameters(&self) -> [(&'static str, &str); 7] {
        [
            ("type", self.kind.trim()),
            ("state", &self.state),
            ("status", &self.status),
            ("webhook", &self.webhook),
            ("event", &self.event),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }
}

/// Parses a time as browsers send it (`2026-11-22T12:00`, taken as UTC) or in RFC 3339.
fn moment(text: &str) -> Result<DateTime<Utc>, Rejection> {
    let typed = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"];
    let local = typed.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let local = local.map(|at| at.and_utc()).and_then(time::sure);
    local.map_or_else(|| text.parse().map(Time::utc), Ok)
}

/// Returns the names of the tenant's newest 100 webhooks.
pub fn names(tx: &mut Tx<'_>, tenant: TenantId, deliveries: &[Delivery], more: Option<WebhookId>) -> Result<Names> {
    let ids: BTreeSet<_> = deliveries.iter().map(|delivery| delivery.webhook_id).chain(more).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    Ok(webhooks::names(tx, tenant, &ids)?.into_iter().collect())
}

/// Returns the webhooks that the filter offers: the newest hundred.
fn offered(tx: &mut Tx<'_>, tenant: TenantId) -> Result<Page<Webhook, WebhookId>> {
    let size = PageSize::new(PageSize::MAX).unwrap_or_default();
    webhooks::list(tx, Scope::Tenant(tenant), &WebhookFilter::default(), &Paging { size, ..Paging::default() })
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadEvents)?;
    let (filter, ignored) = asked.filter(state.clock.offset());
    let paging = asked.place.paging::<DeliveryId>(ROWS);
    who.shell.note_ignored(&ignored);
    let now = state.clock.now();
    let tenant = who.shell.tenant.id;
    let chosen = filter.webhook;
    let list = move |tx: &mut Tx<'_>| {
        let found = deliveries::list(tx, Scope::Tenant(tenant), &filter, &paging)?;
        let names = names(tx, tenant, &found.rows, chosen)?;
        Ok((found, names, offered(tx, tenant)?))
    };
    let (found, names, offered) = state.pages.read(Scope::Tenant(tenant), list).await?;
    let set = asked.parameters();
    let shown = |name: &str, value: &str| {
        let named =
            value.parse::<WebhookId>().ok().filter(|_| name == "webhook").and_then(|id| names.get(&id).cloned());
        let label = match name {
            "since" => "From".to_owned(),
            "until" => "To".to_owned(),
            "status" => "Response".to_owned(),
            name => text::label(name),
        };
        (label, named.unwrap_or_else(|| value.to_owned()))
    };
    page(&Index {
        pager: Pager::new(urls::DELIVERIES, &set, &found),
        chips: filter::chips(urls::DELIVERIES, &set, shown),
        states: states(&asked.state),
        statuses: Choice::list(&STATUSES, &asked.status),
        since: asked.since.clone(),
        until: asked.until.clone(),
        has_more_webhooks: offered.older.is_some(),
        webhooks: choices(offered.rows, &names, chosen),
        rows: found.rows.into_iter().map(|delivery| show::row(delivery, &names, now)).collect(),
        kind: asked.kind,
        event_id: asked.event,
        shell: who.shell,
    })
}

const STATUSES: [(&str, &str); 6] =
    [("", "Any"), ("2xx", "2xx"), ("3xx", "3xx"), ("4xx", "4xx"), ("5xx", "5xx"), ("none", "No response")];

fn states(chosen: &str) -> Vec<Choice> {
    let states =
        DeliveryState::ALL.iter().map(|state| Choice::new(state.as_str(), text::capitalized(state.as_str()), chosen));
    std::iter::once(Choice::new("", "Any", chosen)).chain(states).collect()
}

/// Returns the choices of the webhook filter. The chosen webhook is always among them.
fn choices(offered: Vec<Webhook>, names: &Names, chosen: Option<WebhookId>) -> Vec<Choice> {
    let other = chosen.filter(|id| offered.iter().all(|webhook| webhook.id != *id));
    let other = other.map(|id| (id, show::webhook_name(names, id)));
    let webhooks = other.into_iter().chain(offered.into_iter().map(|webhook| (webhook.id, webhook.name)));
    let chosen = chosen.map(|id| id.to_string()).unwrap_or_default();
    let webhooks = webhooks.map(|(id, name)| Choice::new(id.to_string(), name, &chosen));
    std::iter::once(Choice::new("", "Any", &chosen)).chain(webhooks).collect()
}

pub async fn show(state: Data<State>, who: SignedIn, id: Path<DeliveryId>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let detail = state.pages.read(Scope::Tenant(actor.tenant), move |tx| deliveries::find(tx, &actor, id)).await?;
    page(&show::show(detail, who.shell, state.clock.now()))
}

pub async fn redeliver(state: Data<State>, who: SignedIn, id: Path<DeliveryId>, _: CheckedForm<Nothing>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| deliveries::redeliver(tx, &actor, id);
    if let Err(error) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        return back(&who.session, urls::delivery(id), error);
    }
    see_other(
        &who.session,
        urls::delivery(id),
        Flash::good("The delivery is being sent again. Reload this page to see the attempt."),
    )
}

pub async fn ask_cancel(state: Data<State>, who: SignedIn, id: Path<DeliveryId>) -> Answer {
    who.actor.must(Permission::WriteEvents)?;
    let (actor, id) = (who.actor.clone(), *id);
    let detail = state.pages.read(Scope::Tenant(actor.tenant), move |tx| deliveries::find(tx, &actor, id)).await?;
    deliveries::must_direct(&who.actor, detail.webhook.as_ref())?;
    let ask = show::ask_cancel(&detail.delivery, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn cancel(state: Data<State>, who: SignedIn, id: Path<DeliveryId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| deliveries::cancel(tx, &actor, id);
    if let Err(error) = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await {
        return back(&who.session, urls::delivery(id), error);
    }
    see_other(&who.session, urls::delivery(id), Flash::good("The delivery is cancelled."))
}

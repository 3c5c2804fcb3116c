//! Pages about events: the list, the publish form, and the deliveries of one event.

pub mod view;

use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::deliveries;
use super::paging::PagePlace;
use super::{page, see_other, stem, unprocessable};
use crate::domain::{Error, EventId, FieldErrors, Permission, Result};
use crate::model::Event;
use crate::services::events::{self, EventFilter, NewEvent, Published};
use crate::services::random_token;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Pager, Snippet, When, filter, text};
use view::{EventForm, Index, New, Row, Show};

const ROWS: i64 = 50;

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    place: PagePlace,
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadEvents)?;
    who.shell.note_ignored(&asked.place.noted::<EventId>());
    let kind = asked.kind.trim().to_owned();
    let wanted = EventFilter { kind: filter::text(&kind), ..EventFilter::default() };
    let (paging, now, scope) =
        (asked.place.paging::<EventId>(ROWS), state.clock.now(), Scope::Tenant(who.shell.tenant.id));
    let found = state.pages.read(scope, move |tx| events::list(tx, scope, &wanted, &paging)).await?;
    let set = [("type", kind.as_str())];
    page(&Index {
        pager: Pager::new(urls::EVENTS, &set, &found),
        chips: filter::chips(urls::EVENTS, &set, |name, value| (text::label(name), value.to_owned())),
        rows: found.rows.into_iter().map(|event| row(event, now)).collect(),
        kind,
        shell: who.shell,
    })
}

fn row(event: Event, now: DateTime<Utc>) -> Row {
    let payload: String = event.payload.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect();
    Row { id: event.id.to_string(), kind: event.kind, payload, created: When::new(event.created_at, now) }
}

pub async fn new(who: SignedIn) -> Answer {
    who.actor.must(Permission::WriteEvents)?;
    let form = EventForm { nonce: random_token()?, kind: String::new(), data: "{\n  \"id\": 1042\n}".to_owned() };
    page(&new_view(who.shell, form, FieldErrors::default(), stem(&who.base)))
}

fn new_view(shell: Shell, form: EventForm, errors: FieldErrors, base: &str) -> New {
    let curl = format!(
        "curl {base}/api/events \\\n  -H \"Authorization: Bearer $GATEPOST_TOKEN\" \\\n  -H \"Content-Type: application/json\" \\\n  \
         -d '{{\"type\": \"order.created\", \"data\": {{\"id\": 1042}}}}'"
    );
    let js = format!(
        "await fetch(\"{base}/api/events\", {{\n  method: \"POST\",\n  headers: {{\n    \
         Authorization: `Bearer ${{process.env.GATEPOST_TOKEN}}`,\n    \"Content-Type\": \"application/json\",\n    \
         \"Idempotency-Key\": order.id,\n  }},\n  body: JSON.stringify({{ type: \"order.created\", data: order }}),\n}});"
    );
    New { shell, form, errors, snippets: vec![Snippet::new("curl", curl), Snippet::new("JavaScript", js)] }
}

/// Publishes an event. The form's nonce is the idempotency key, so that a repeated submission publishes nothing more.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<EventForm>) -> Answer {
    let actor = who.actor;
    let published = match NewEvent::parse(Some(form.kind.trim()), Some(&form.data), Some(&form.nonce)) {
        Ok(ask) => {
            let publish = move |tx: &mut Tx<'_>| events::publish(tx, &actor, &ask);
            state.pages.tx_again(Scope::Tenant(who.shell.tenant.id), publish).await
        }
        Err(error) => Err(error),
    };
    match published {
        Ok(published) => see_other(&who.session, urls::event(published.id), Flash::good(said(&published))),
        Err(Error::Invalid(errors)) => unprocessable(&new_view(who.shell, form, errors, stem(&who.base))),
        Err(error) => Err(error.into()),
    }
}

fn said(published: &Published) -> String {
    if published.is_replay {
        return format!("This form has already published {}. Nothing was sent again.", published.kind);
    }
    format!("{} is published and will be sent to {}.", published.kind, text::counted(published.deliveries, "webhook"))
}

pub async fn show(state: Data<State>, who: SignedIn, id: Path<EventId>) -> Answer {
    let (actor, id, now) = (who.actor, *id, state.clock.now());
    let tenant = actor.tenant;
    let find = move |tx: &mut Tx<'_>| -> Result<_> {
        let detail = events::find(tx, &actor, id)?;
        let names = deliveries::names(tx, tenant, &detail.deliveries.rows, None)?;
        Ok((detail, names))
    };
    let (detail, names) = state.pages.read(Scope::Tenant(tenant), find).await?;
    let event = detail.event;
    page(&Show {
        size: text::bytes(event.payload.len()),
        payload: text::pretty(&event.payload),
        source: source(&event),
        created: When::new(event.created_at, now),
        deliveries_are_capped: detail.deliveries.is_capped,
        deliveries: detail
            .deliveries
            .rows
            .into_iter()
            .map(|delivery| deliveries::show::row(delivery, &names, now))
            .collect(),
        id: event.id.to_string(),
        kind: event.kind,
        shell: who.shell,
    })
}

fn source(event: &Event) -> String {
    match (event.webhook_id, event.api_key_id, event.user_id) {
        (Some(_), ..) => "as a test".to_owned(),
        (_, Some(key), _) => format!("with key {key}"),
        (_, _, Some(_)) => "by a user or their access token".to_owned(),
        _ => "by Gatepost itself".to_owned(),
    }
}

//! Command `gatepost deliveries`.

use chrono::TimeDelta;
use clap::{Args, Subcommand};

use super::console::{Console, console};
use super::webhooks::word;
use super::{listing, say, tell};
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::delivery::{DeliveryState, StatusClass};
use crate::domain::page::PageSize;
use crate::domain::time::Time;
use crate::domain::{Actor, DeliveryId, Error, EventId, Noun, Result as Done, WebhookId};
use crate::services::deliveries::{self, DeliveryFilter};
use crate::store::Tx;
use crate::web::api::deliveries::DeliveryBody;
use crate::web::api::list::List as Listed;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List deliveries, newest first, a page at a time.
    List(List),
    /// Print a delivery with its attempts as JSON.
    Show(Which),
    /// Send a delivery again at once. A running server sends it.
    Redeliver(Which),
    /// Cancel a delivery that is still waiting.
    Cancel(Which),
}

#[derive(Debug, Args)]
pub struct Which {
    /// Id of the delivery (dlv_…).
    #[arg(value_name = "ID", value_parser = word::<DeliveryId>)]
    id: DeliveryId,
}

#[derive(Debug, Args)]
pub struct List {
    /// Slug of the tenant. Default: all tenants.
    #[arg(long)]
    tenant: Option<String>,
    /// Only deliveries to this webhook (id).
    #[arg(long, value_parser = word::<WebhookId>)]
    webhook: Option<WebhookId>,
    /// Only deliveries of this event (id, evt_…).
    #[arg(long, value_parser = word::<EventId>)]
    event: Option<EventId>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only deliveries in this state: pending, retrying, delivered, failed or cancelled.
    #[arg(long, value_parser = word::<DeliveryState>)]
    state: Option<DeliveryState>,
    /// Only deliveries whose last attempt got this response: 2xx, 3xx, 4xx, 5xx, or none.
    #[arg(long, value_parser = word::<StatusClass>)]
    status: Option<StatusClass>,
    /// Only deliveries created at or after this time, as in 2026-11-22T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = word::<Time>)]
    since: Option<Time>,
    /// Only deliveries created before this time.
    #[arg(long, value_name = "TIME", value_parser = word::<Time>)]
    until: Option<Time>,
    /// Number of rows to print.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=PageSize::MAX), default_value = "50")]
    limit: i64,
    /// Cursor that the previous page printed.
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(settings: &Settings, command: Command, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    match command {
        Command::List(asked) => list(&mut house, asked, json),
        Command::Show(which) => {
            let detail = act(&mut house, which.id, |tx, actor, id| deliveries::find(tx, actor, id))?;
            say(&value(&DeliveryBody::with_attempts(detail)?)?.to_string())
        }
        Command::Redeliver(which) => {
            let again = act(&mut house, which.id, deliveries::redeliver)?;
            tell(json, &value(&DeliveryBody::from(again))?, &format!("{} is being sent again", which.id))
        }
        Command::Cancel(which) => {
            let gone = act(&mut house, which.id, deliveries::cancel)?;
            tell(json, &value(&DeliveryBody::from(gone))?, &format!("{} is cancelled", which.id))
        }
    }
}

/// Acts as the console in the delivery's tenant.
fn act<T>(
    house: &mut Console,
    id: DeliveryId,
    act: impl FnOnce(&mut Tx<'_>, &Actor, DeliveryId) -> Done<T>,
) -> Result<T, Failure> {
    house.tx(|tx, _| {
        let tenant = deliveries::tenant_of(tx, id)?.ok_or(Error::NotFound(Noun::Delivery))?;
        act(tx, &console(tenant), id)
    })
}

fn value(body: &impl serde::Serialize) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::new(error.to_string()))
}

fn list(house: &mut Console, asked: List, json: bool) -> Result<(), Failure> {
    let paging = listing::paging(asked.limit, asked.cursor.as_deref())?;
    let filter = DeliveryFilter {
        webhook: asked.webhook,
        event: asked.event,
        state: asked.state,
        kind: asked.kind,
        status: asked.status,
        since: asked.since.map(Time::utc),
        until: asked.until.map(Time::utc),
        skew: TimeDelta::zero(),
    };
    let page = house.tx(|tx, _| {
        let scope = listing::scope(tx, asked.tenant.as_deref())?;
        deliveries::list(tx, scope, &filter, &paging)
    })?;
    if json {
        return say(&value(&Listed::new(page.map(DeliveryBody::from)))?.to_string());
    }
    let columns =
        [("ID", 30), ("WEBHOOK", 8), ("STATE", 10), ("ANSWER", 6), ("ATTEMPTS", 9), ("CREATED", 20), ("TYPE", 0)];
    listing::print("delivery", columns, page, |row| {
        [
            row.id.to_string(),
            row.webhook_id.to_string(),
            row.state.to_string(),
            row.last_status.map_or_else(|| "-".to_owned(), |status| status.to_string()),
            format!("{} of {}", row.attempts_made(), row.attempts_max),
            listing::second(row.created_at),
            row.event_type.clone(),
        ]
    })
}

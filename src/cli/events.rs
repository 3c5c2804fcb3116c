//! Command `gatepost events`.

use clap::Subcommand;

use super::console::{Console, actor_in};
use super::tell;
use crate::app::Failure;
use crate::config::Settings;
use crate::services::events::{self, NewEvent};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish an event. A running server delivers it.
    Publish {
        /// Slug of the tenant.
        #[arg(long)]
        tenant: String,
        /// Event type, as in order.created.
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
        /// Payload of the event, as JSON.
        #[arg(long, value_name = "JSON")]
        data: String,
        /// Publish only once, even if the command is repeated with this key.
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
    },
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let Command::Publish { tenant, kind, data, idempotency_key } = command;
    let ask = NewEvent::parse(Some(&kind), Some(&data), idempotency_key.as_deref())?;
    let mut house = Console::open(&settings)?;
    let published = house.tx(|tx, _| {
        let actor = actor_in(tx, &tenant)?;
        events::publish(tx, &actor, &ask)
    })?;
    let value = serde_json::to_value(&published).map_err(|error| Failure::new(error.to_string()))?;
    let (id, deliveries) = (published.id, published.deliveries);
    tell(json, &value, &format!("Published {id}, to be delivered to {deliveries} webhooks"))
}

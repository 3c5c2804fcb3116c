//! Command `gatepost webhooks`.

mod ask;

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::console::{Console, console};
use super::{listing, say, tell};
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::address::AddressPolicy;
use crate::domain::page::{PageSize, cursor};
use crate::domain::vault::Vault;
use crate::domain::webhook::WebhookState;
use crate::domain::{Actor, Error, Noun, Rejection, Result as Done, WebhookId};
use crate::model::Webhook;
use crate::services::webhooks::{self, DEFAULT_OVERLAP, WebhookFilter, headers, probe, secrets};
use crate::store::{Scope, Tx};
use crate::web::api::list::List as Listed;
use crate::web::api::webhooks::WebhookBody;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a webhook. Prints only its signing secret; the rest goes to stderr.
    Create(Box<ask::Create>),
    /// List webhooks, a page at a time.
    List(List),
    /// Print everything about a webhook except its sealed secrets.
    Show(Which),
    /// Change the given settings of a webhook, and no others.
    Update(Box<ask::Update>),
    /// Print only the signing secret. The audit log records this.
    Secret(Which),
    /// Print the values of custom headers. The audit log records this.
    Headers(Which),
    /// Create a new signing secret and print only the secret.
    RotateSecret(Rotate),
    /// Create a new ed25519 key pair, or the first one, and print only the public key.
    RotateKey(Rotate),
    /// Remove all key pairs. The secret goes on signing.
    RemoveKey(Which),
    /// Send a test event to this webhook only. A running server delivers it.
    Test {
        #[command(flatten)]
        which: Which,
        /// Type of the test event.
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// Payload of the test event.
        #[arg(long, value_name = "JSON")]
        data: Option<String>,
    },
    /// Pause a webhook: send it nothing until it is activated again.
    Deactivate(Which),
    /// Activate a webhook: send it events again.
    Activate {
        #[command(flatten)]
        which: Which,
        /// Activate it only after it responds to a probe with 2xx. A running server sends the probe.
        #[arg(long)]
        probe: bool,
    },
    /// Delete a webhook for good and cancel its waiting deliveries.
    Delete(Which),
}

#[derive(Debug, Args)]
pub struct Which {
    /// Id of the webhook.
    #[arg(value_name = "ID")]
    id: i64,
}

#[derive(Debug, Args)]
pub struct Rotate {
    #[command(flatten)]
    which: Which,
    /// Time that the old one signs as well, at most 7 days [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    overlap_seconds: Option<i64>,
}

impl Rotate {
    fn overlap(&self) -> TimeDelta {
        self.overlap_seconds
            .map_or(DEFAULT_OVERLAP, |seconds| TimeDelta::try_seconds(seconds).unwrap_or(TimeDelta::MAX))
    }
}

#[derive(Debug, Args)]
pub struct List {
    /// Slug of the tenant. Default: all tenants.
    #[arg(long)]
    tenant: Option<String>,
    /// Search in names and URLs.
    #[arg(long, short)]
    q: Option<String>,
    /// Only webhooks in this state: active, paused, failing or disabled.
    #[arg(long, value_parser = word::<WebhookState>)]
    state: Option<WebhookState>,
    /// Number of rows to print.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=PageSize::MAX), default_value = "50")]
    limit: i64,
    /// Cursor that the previous page printed.
    #[arg(long)]
    cursor: Option<String>,
}

/// Parses a word from a fixed list, such as a state.
pub fn word<T: std::str::FromStr<Err = Rejection>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|rejection: Rejection| rejection.detail)
}

/// Everything that subcommands on webhooks need.
struct WebhookConsole {
    house: Console,
    vault: Vault,
    policy: AddressPolicy,
}

impl WebhookConsole {
    fn open(settings: &Settings) -> Result<Self, Failure> {
        let house = Console::open(settings)?;
        Ok(Self { house, vault: settings.vault(), policy: settings.address_policy() })
    }

    /// Acts on a webhook as the console in its tenant.
    fn act<T>(
        &mut self,
        which: &Which,
        act: impl FnOnce(&mut Tx<'_>, &Vault, &Actor, WebhookId) -> Done<T>,
    ) -> Result<T, Failure> {
        let (id, vault) = (WebhookId(which.id), &self.vault);
        self.house.tx(|tx, _| {
            let tenant = webhooks::tenant_of(tx, id)?.ok_or(Error::NotFound(Noun::Webhook))?;
            act(tx, vault, &console(tenant), id)
        })
    }

    /// Acts on a webhook like [`WebhookConsole::act`] and prints the changed webhook, or a sentence.
    fn change(
        &mut self,
        which: &Which,
        json: bool,
        done: &str,
        act: impl FnOnce(&mut Tx<'_>, &Vault, &Actor, WebhookId) -> Done<Webhook>,
    ) -> Result<(), Failure> {
        let (name, body) = self.act(which, |tx, vault, actor, id| {
            let webhook = act(tx, vault, actor, id)?;
            Ok((webhook.name.clone(), WebhookBody::read(tx, webhook)?))
        })?;
        tell(json, &value(&body)?, &format!("Webhook {} ({name}) {done}", which.id))
    }
}

fn value(body: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::new(error.to_string()))
}

pub fn run(settings: &Settings, command: Command, json: bool) -> Result<(), Failure> {
    let mut desk = WebhookConsole::open(settings)?;
    match command {
        Command::Create(asked) => asked.run(&mut desk, json),
        Command::Update(asked) => asked.run(&mut desk, json),
        Command::List(asked) => list(&mut desk, &asked, json),
        Command::Show(which) => show(&mut desk, &which, json),
        Command::Secret(which) => {
            let secret = desk.act(&which, secrets::reveal)?;
            tell(json, &json!({"id": which.id, "secret": secret.reveal()}), secret.reveal())
        }
        Command::Headers(which) => {
            let values = desk.act(&which, headers::reveal)?;
            let lines: Vec<_> = values.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            tell(json, &json!({"id": which.id, "headers": values}), &lines.join("\n"))
        }
        Command::RotateSecret(asked) => {
            let rotated = desk.act(&asked.which, |tx, vault, actor, id| {
                secrets::rotate(tx, vault, actor, id, asked.overlap(), None)
            })?;
            let secret = rotated.secret.reveal();
            tell(json, &json!({"id": asked.which.id, "secret": secret}), secret)
        }
        Command::RotateKey(asked) => rotate_key(&mut desk, &asked, json),
        Command::RemoveKey(which) => {
            desk.change(&which, json, "no longer signs with a key pair", |tx, _, actor, id| {
                secrets::remove_key(tx, actor, id)
            })
        }
        Command::Test { which, kind, data } => {
            let sent = desk
                .act(&which, |tx, _, actor, id| webhooks::send_test(tx, actor, id, kind.as_deref(), data.as_deref()))?;
            tell(json, &value(&sent)?, &format!("Published {} for webhook {} only", sent.id, which.id))
        }
        Command::Deactivate(which) => {
            desk.change(&which, json, "is paused", |tx, _, actor, id| webhooks::deactivate(tx, actor, id))
        }
        Command::Activate { which, probe: true } => {
            desk.change(&which, json, "resumes after a 2xx response to a test request", |tx, _, actor, id| {
                probe::begin(tx, actor, id)
            })
        }
        Command::Activate { which, .. } => {
            desk.change(&which, json, "receives events", |tx, _, actor, id| webhooks::activate(tx, actor, id))
        }
        Command::Delete(which) => {
            let gone = desk.act(&which, |tx, _, actor, id| webhooks::delete(tx, actor, id))?;
            tell(
                json,
                &json!({"id": gone.id, "deleted": true}),
                &format!("Webhook {} ({}) is deleted", gone.id, gone.name),
            )
        }
    }
}

fn rotate_key(desk: &mut WebhookConsole, asked: &Rotate, json: bool) -> Result<(), Failure> {
    let keys = desk.act(&asked.which, |tx, vault, actor, id| {
        secrets::rotate_key(tx, vault, actor, id, asked.overlap(), None)?;
        secrets::public_keys(tx, Scope::Tenant(actor.tenant), &[id])
    })?;
    let keys: Vec<String> = keys.into_iter().filter_map(|key| key.public_key).collect();
    let newest = keys.first().cloned().unwrap_or_default();
    tell(json, &json!({"id": asked.which.id, "public_keys": keys}), &newest)
}

fn show(desk: &mut WebhookConsole, which: &Which, json: bool) -> Result<(), Failure> {
    let body = desk.act(which, |tx, _, actor, id| {
        let webhook = webhooks::find(tx, actor, id)?;
        WebhookBody::read(tx, webhook)
    })?;
    let body = value(&body)?;
    if json {
        return say(&body.to_string());
    }
    for (name, value) in body.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say(&format!("{name:<20} {text}"))?;
    }
    Ok(())
}

fn list(desk: &mut WebhookConsole, asked: &List, json: bool) -> Result<(), Failure> {
    let paging = listing::paging(asked.limit, asked.cursor.as_deref())?;
    let (page, bodies) = desk.house.tx(|tx, _| {
        let scope = listing::scope(tx, asked.tenant.as_deref())?;
        let filter = WebhookFilter { text: asked.q.clone(), state: asked.state };
        let page = webhooks::list(tx, scope, &filter, &paging)?;
        let read = |row: &Webhook| WebhookBody::read(tx, row.clone());
        let bodies = page.rows.iter().map(read).collect::<Done<Vec<_>>>()?;
        Ok((page, bodies))
    })?;
    if json {
        let list = Listed { data: bodies, next_cursor: page.older.map(cursor), total: None };
        return say(&value(&list)?.to_string());
    }
    let columns = [("ID", 8), ("TENANT", 6), ("STATE", 9), ("NAME", 28), ("URL", 0)];
    listing::print("webhook", columns, page, |row| {
        [row.id.to_string(), row.tenant_id.to_string(), row.state().to_string(), row.name.clone(), row.url.clone()]
    })
}

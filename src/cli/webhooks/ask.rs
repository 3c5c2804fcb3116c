//! Arguments of `gatepost webhooks create` and `update`.

use std::collections::BTreeMap;

use clap::Args;

use super::{WebhookConsole, Which, value};
use crate::app::Failure;
use crate::cli::console::actor_in;
use crate::cli::say;
use crate::domain::retry;
use crate::services::webhooks::{self, WebhookFields};
use crate::web::api::webhooks::WebhookBody;

#[derive(Debug, Args)]
pub struct Create {
    /// Slug of the tenant.
    #[arg(long)]
    tenant: String,
    /// URL of the endpoint.
    #[arg(long)]
    url: String,
    /// Event types, groups (order.*) or *, separated by commas.
    #[arg(long, value_delimiter = ',', required = true)]
    events: Vec<String>,
    /// Sign with an ed25519 key pair as well as the secret.
    #[arg(long)]
    ed25519: bool,
    #[command(flatten)]
    besides: Besides,
}

#[derive(Debug, Args)]
pub struct Update {
    #[command(flatten)]
    which: Which,
    /// New URL of the endpoint.
    #[arg(long)]
    url: Option<String>,
    /// Event types, groups (order.*) or *, separated by commas.
    #[arg(long, value_delimiter = ',')]
    events: Vec<String>,
    #[command(flatten)]
    besides: Besides,
}

#[derive(Debug, Args)]
struct Besides {
    /// Name of the webhook. Default: the host of its URL.
    #[arg(long)]
    name: Option<String>,
    /// Payload format: standard, event, raw or cloudevents.
    #[arg(long, value_name = "FORMAT")]
    payload_format: Option<String>,
    /// Style of the signature over the body: prefixed or hex.
    #[arg(long, value_name = "STYLE")]
    signature_style: Option<String>,
    /// Time limit of a request, from 1 to 60.
    #[arg(long, value_name = "SECONDS")]
    timeout_seconds: Option<i64>,
    /// Maximum number of requests under way at once, from 1 to 100.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<i64>,
    /// Maximum number of requests per second, from 1 to 1000; 0 for no limit.
    #[arg(long, value_name = "N")]
    rate_per_second: Option<i64>,
    /// Waits before each retry, such as "5 s, 5 min"; "usual" for the default schedule, "none" for no retry.
    #[arg(long, value_name = "WAITS")]
    retry_schedule: Option<String>,
    /// Header to add to every request, as in "X-Team: payments". Can be repeated; the given headers replace all.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Remove all custom headers.
    #[arg(long, conflicts_with = "headers")]
    no_headers: bool,
}

impl Besides {
    fn fields(self) -> Result<WebhookFields, Failure> {
        let refused = |field: &str, detail: &str| Failure::new(format!("{field} {detail}"));
        let retry_schedule = match self.retry_schedule.as_deref() {
            None => None,
            Some("usual") => Some(None),
            Some("none") => Some(Some(Vec::new())),
            Some(text) => {
                let gaps = retry::retries_of_text(text);
                Some(Some(gaps.map_err(|rejection| refused("retry_schedule", &rejection.detail))?))
            }
        };
        let line = |line: &String| {
            let (name, value) =
                line.split_once(':').ok_or_else(|| refused("header", "must be a name, a colon and a value"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        let headers = self.headers.iter().map(line).collect::<Result<BTreeMap<_, _>, Failure>>()?;
        Ok(WebhookFields {
            name: self.name,
            payload_format: self.payload_format,
            signature_style: self.signature_style,
            timeout_seconds: self.timeout_seconds,
            max_in_flight: self.max_in_flight,
            rate_per_second: self.rate_per_second.map(|rate| Some(rate).filter(|rate| *rate != 0)),
            retry_schedule,
            headers: (self.no_headers || !headers.is_empty()).then_some(headers),
            ..WebhookFields::default()
        })
    }
}

impl Create {
    pub(super) fn run(self, desk: &mut WebhookConsole, json: bool) -> Result<(), Failure> {
        let fields = WebhookFields {
            url: Some(self.url),
            events: Some(self.events),
            ed25519: self.ed25519,
            ..self.besides.fields()?
        };
        let (vault, policy) = (&desk.vault, &desk.policy);
        let (id, secret, body) = desk.house.tx(|tx, _| {
            let actor = actor_in(tx, &self.tenant)?;
            let made = webhooks::subscribe(tx, vault, policy, &actor, &fields)?;
            let (id, secret) = (made.webhook.id, made.secret.clone());
            Ok((id, secret, WebhookBody::revealed(tx, made)?))
        })?;
        if json {
            return say(&value(&body)?.to_string());
        }
        eprintln!("Created webhook {id}. Receivers verify requests with this secret:");
        say(secret.reveal())
    }
}

impl Update {
    pub(super) fn run(self, desk: &mut WebhookConsole, json: bool) -> Result<(), Failure> {
        let fields = WebhookFields {
            url: self.url,
            events: Some(self.events).filter(|events| !events.is_empty()),
            ..self.besides.fields()?
        };
        let policy = desk.policy.clone();
        desk.change(&self.which, json, "is saved", |tx, vault, actor, id| {
            webhooks::update(tx, vault, &policy, actor, id, &fields)
        })
    }
}

//! Command `gatepost keys`.

mod act;
mod listing;

use std::io::Read;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use super::console::{Console, actor_in};
use super::{say, tell};
use crate::app::{Failure, shared_limits};
use crate::config::Settings;
use crate::domain::api_key::{Environment, KeyDraft, NewKey};
use crate::domain::digest::Hasher;
use crate::domain::limit::named::NamedLimit;
use crate::domain::quota::{Quota, Refill};
use crate::domain::{Error, FieldErrors, verification};
use crate::gate::meter::Meter;
use crate::gate::{Credential, Gate, VerificationRequest};
use crate::services::api_keys;
use crate::services::tenants::{self, TenantRef};
use crate::store::Db;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an API key. Prints only its secret, once; the rest goes to stderr.
    Create(Box<Create>),
    /// Verify a key as a request with it would be verified, without charging its limits. Exit code 1 if it is not
    /// valid.
    Verify(Box<Verify>),
    /// List keys, a page at a time.
    List(Box<listing::List>),
    /// Print everything about a key except its secret, which is not stored.
    Show(act::Which),
    /// Rotate a key: create a successor with the same settings and a new secret. Prints only that secret, once; the
    /// rest goes to stderr.
    Rotate {
        #[command(flatten)]
        which: act::Which,
        /// Time that the old secret works beside the new one, at most 30 days [default: 86400]
        #[arg(long, value_name = "SECONDS")]
        overlap_seconds: Option<i64>,
    },
    /// Revoke a key for good.
    Revoke {
        #[command(flatten)]
        which: act::Which,
        /// Reason, shown with the key.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Disable a key until it is enabled again.
    Disable(act::Which),
    /// Enable a disabled key.
    Enable(act::Which),
    /// Delete a key. It can be restored for 30 days.
    Delete(act::Which),
    /// Restore a deleted key to its former state.
    Restore(act::Which),
}

#[derive(Debug, clap::Args)]
pub struct Verify {
    /// Secret of the key. `-` or nothing reads it from stdin, hidden from other users of this machine.
    #[arg(default_value = "-")]
    key: String,
    /// Slug of the tenant that the key must belong to.
    #[arg(long)]
    tenant: Option<String>,
    /// Scopes that the key must have, separated by commas.
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Environment that the key must have: live or test.
    #[arg(long)]
    environment: Option<Environment>,
    /// IP address that the request would come from.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// Units that the request would charge.
    #[arg(long, default_value_t = 1)]
    cost: u64,
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Slug of the tenant.
    #[arg(long)]
    tenant: String,
    /// Name of the key.
    #[arg(long)]
    name: String,
    /// Description of the key.
    #[arg(long)]
    description: Option<String>,
    /// Environment of the key: live or test.
    #[arg(long)]
    environment: Option<String>,
    /// Scopes of the key, separated by commas.
    #[arg(long, value_delimiter = ',')]
    scopes: Vec<String>,
    /// Prefix of the secret, instead of the tenant's own.
    #[arg(long)]
    prefix: Option<String>,
    /// Maximum number of requests in any window.
    #[arg(long, value_name = "N")]
    rate_limit: Option<i64>,
    /// Length of the window.
    #[arg(long, value_name = "SECONDS")]
    rate_window_seconds: Option<i64>,
    /// Additional limit, such as "burst 10/1" or "team 1000/3600 owner". Can be repeated.
    #[arg(long = "limit", value_name = "NAME N/SECONDS [owner]", value_parser = NamedLimit::parse_line)]
    limits: Vec<NamedLimit>,
    /// Total units that the key may use.
    #[arg(long, value_name = "N")]
    quota: Option<i64>,
    /// Refill of the quota: daily or monthly. Default: never.
    #[arg(long, requires = "quota")]
    quota_refill: Option<Refill>,
    /// Addresses or networks from which the key may be used, separated by commas.
    #[arg(long, value_delimiter = ',')]
    allowed_ips: Vec<String>,
    /// Your own name for the owner of the key.
    #[arg(long)]
    owner: Option<String>,
    /// Tags of the key, separated by commas.
    #[arg(long, value_delimiter = ',')]
    tags: Vec<String>,
    /// Days until the key expires. Default: never.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=3650))]
    expires_in_days: Option<u16>,
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<ExitCode, Failure> {
    match command {
        Command::Create(ask) => create(&settings, *ask, json),
        Command::Verify(asked) => return verify(&settings, *asked, json),
        Command::List(ask) => listing::run(&settings, *ask, json),
        Command::Show(which) => act::show(&settings, &which, json),
        Command::Rotate { which, overlap_seconds } => act::rotate(&settings, &which, overlap_seconds, json),
        Command::Revoke { which, reason } => {
            act::run(&settings, &which, json, "revoked permanently", |tx, actor, id| {
                api_keys::revoke(tx, actor, id, reason.as_deref())
            })
        }
        Command::Disable(which) => act::run(&settings, &which, json, "disabled", api_keys::deactivate),
        Command::Enable(which) => act::run(&settings, &which, json, "enabled", api_keys::activate),
        Command::Delete(which) => act::run(&settings, &which, json, "deleted", api_keys::delete),
        Command::Restore(which) => act::run(&settings, &which, json, "restored", api_keys::restore),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn create(settings: &Settings, ask: Create, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let now = house.clock.now();
    let minted = house.tx(|tx, hasher| {
        let actor = actor_in(tx, &ask.tenant)?;
        let draft = KeyDraft {
            name: Some(ask.name),
            description: ask.description,
            environment: ask.environment,
            prefix: ask.prefix,
            scopes: ask.scopes,
            rate_limit: ask.rate_limit,
            rate_window_seconds: ask.rate_window_seconds,
            limits: ask.limits,
            quota: ask.quota.map(|quota| Quota { quota, refill: ask.quota_refill }),
            allowed_ips: ask.allowed_ips,
            owner: ask.owner,
            tags: ask.tags,
            expires_at: ask.expires_in_days.map(|days| now + chrono::TimeDelta::days(days.into())),
            ..KeyDraft::default()
        };
        api_keys::mint(tx, &actor, hasher, NewKey::parse(draft, now)?)
    })?;
    let (key, secret) = (minted.key, minted.secret.reveal_once());
    if json {
        return say(&json!({"id": key.id, "key": key.public_id, "secret": secret, "name": key.name}).to_string());
    }
    eprintln!("Created key {} ({}). Save its secret: it is not shown again.", key.public_id, key.name);
    say(&secret)
}

impl Verify {
    fn parse(self, secret: &str) -> Result<VerificationRequest, Error> {
        let mut errors = FieldErrors::default();
        let scopes = verification::scopes(&mut errors, "scopes", &self.scopes);
        let cost = errors.take("cost", verification::cost(self.cost)).unwrap_or(1);
        let ask = VerificationRequest {
            tenant_slug: self.tenant,
            scopes,
            environment: self.environment,
            cost,
            is_dry_run: true,
            ..VerificationRequest::new(Credential::secret(secret), self.ip.map(|ip| ip.to_canonical()))
        };
        if errors.is_empty() { Ok(ask) } else { Err(errors.into()) }
    }
}

fn verify(settings: &Settings, mut asked: Verify, json: bool) -> Result<ExitCode, Failure> {
    let key = Zeroizing::new(std::mem::take(&mut asked.key));
    let secret = if *key == "-" { from_stdin()? } else { key };
    let mut house = Console::open(settings)?;
    if let Some(slug) = asked.tenant.clone() {
        house.tx(|tx, _| tenants::find(tx, &TenantRef::Slug(slug)))?;
    }
    let ask = asked.parse(&secret)?;
    let decision = actix_web::rt::System::new().block_on(async {
        let (db, hasher) = (Db::new(house.url(), 1), Hasher::new(settings.peppers.clone(), settings.key_hash));
        let meter = Meter::start(db.clone(), settings.usage_flush);
        let shared = shared_limits(settings, &db, &house.clock).await?;
        let gate = Gate::new(db, Arc::new(hasher), house.clock.clone(), meter, shared)?;
        gate.decide(&ask).await
    })?;
    let known = decision.known().map(|known| &known.key);
    let value = json!({
        "valid": decision.is_valid(), "code": decision.outcome.as_str(),
        "key": known.map(|key| json!({"id": key.id, "key": key.public_id, "name": key.name})),
        "missing_scopes": decision.missing_scopes,
    });
    let name = known.map(|key| format!(" {} ({})", key.public_id, key.name)).unwrap_or_default();
    tell(json, &value, &format!("{}{name}", decision.outcome.as_str()))?;
    Ok(if decision.is_valid() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn from_stdin() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
    read.map_err(|error| Failure::new(format!("the key can't be read from stdin: {error}")))?;
    Ok(Zeroizing::new(text.trim().to_owned()))
}

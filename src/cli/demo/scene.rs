//! Sample users, keys and webhooks of the demonstration, made at its first start.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::app::Failure;
use crate::domain::access_token::{NewToken, TokenDraft};
use crate::domain::actor::Authority;
use crate::domain::api_key::{KeyDraft, NewKey, Overlap};
use crate::domain::page::Paging;
use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Result, Role, TenantId, UserId, Via};
use crate::services::accounts::{self, NewUser, UserChange};
use crate::services::tenants::{self, NewTenant};
use crate::services::webhooks::{self, WebhookFields};
use crate::services::{Operator, access_tokens, api_keys};
use crate::store::{self, Scope, Tx};
use crate::web::state::State;

pub const EMAIL: &str = "demo@example.com";
pub const PASSWORD: &str = "leave the gate open";

/// Secrets that the traffic needs. Kept in a file, since secrets cannot be read back from the database.
#[derive(Clone, Serialize, Deserialize)]
pub struct Cast {
    pub tenant: TenantId,
    /// Access token that publishes events.
    pub token: String,
    /// Key that posts orders and reads products.
    pub storefront: String,
    /// Key of the warehouse, which changes the stock.
    pub scanner: String,
    /// Old secret of a rotated key, which still works and reads products.
    pub report: String,
    /// Revoked key, whose calls are refused.
    pub revoked: String,
    /// Key that requires its owner, who was deactivated.
    pub leaver: String,
}

/// Makes the sample data at the first start. Later starts update the webhooks if the receiver has moved.
pub async fn set(state: &State, secrets: &Path, receiver: SocketAddr) -> Result<Cast, Failure> {
    let kept = fs::read(secrets).ok().and_then(|bytes| serde_json::from_slice::<Cast>(&bytes).ok());
    let now = state.clock.now();
    if let Some(cast) = kept {
        let (vault, policy, tenant) = (state.vault.clone(), state.policy.clone(), cast.tenant);
        let move_all = move |tx: &mut Tx<'_>| follow(tx, &vault, &policy, &console(tenant, None), receiver);
        state.pages.tx(Scope::Instance, move_all).await?;
        return Ok(cast);
    }
    let (hasher, vault, policy) = (state.hasher.clone(), state.vault.clone(), state.policy.clone());
    let make = move |tx: &mut Tx<'_>| {
        let stage = Stage { hasher: &hasher, vault: &vault, policy: &policy, receiver, now };
        stage.make(tx)
    };
    let cast = state.pages.tx(Scope::Instance, make).await?;
    keep(secrets, &cast).map_err(|error| Failure::new(format!("{}: {error}", secrets.display())))?;
    Ok(cast)
}

fn keep(secrets: &Path, cast: &Cast) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(secrets)?;
    file.write_all(&serde_json::to_vec(cast)?)
}

fn console(tenant: TenantId, user: Option<UserId>) -> Actor {
    let authority = Authority::Person { role: Role::Owner, scopes: ScopeSet::all() };
    Actor {
        tenant,
        user,
        is_operator: true,
        authority,
        via: Via::Cli,
        label: "demo".to_owned(),
        ip: None,
        request_id: None,
    }
}

fn follow(
    tx: &mut Tx<'_>,
    vault: &crate::domain::vault::Vault,
    policy: &crate::domain::address::AddressPolicy,
    actor: &Actor,
    receiver: SocketAddr,
) -> Result<()> {
    let page = webhooks::list(tx, Scope::Tenant(actor.tenant), &Default::default(), &Paging::default())?;
    for webhook in page.rows {
        let Some(name) = webhook.url.rsplit('/').next() else { continue };
        let url = format!("http://{receiver}/{name}");
        if webhook.url.starts_with("http://127.0.0.1:") && webhook.url != url {
            let ask = WebhookFields { url: Some(url), ..WebhookFields::default() };
            webhooks::update(tx, vault, policy, actor, webhook.id, &ask)?;
        }
    }
    Ok(())
}

struct Stage<'a> {
    hasher: &'a crate::domain::digest::Hasher,
    vault: &'a crate::domain::vault::Vault,
    policy: &'a crate::domain::address::AddressPolicy,
    receiver: SocketAddr,
    now: DateTime<Utc>,
}

impl Stage<'_> {
    fn make(&self, tx: &mut Tx<'_>) -> Result<Cast> {
        let who = Operator::at_the_console();
        let acme = tenants::create(tx, &who, &NewTenant::parse("Acme Corp", Some("acme"), Some("pro"))?)?.id;
        tenants::create(tx, &who, &NewTenant::parse("Globex", Some("globex"), None)?)?;
        let ada = self.user(tx, EMAIL, "Ada Demo", true, acme, Role::Owner)?;
        self.user(tx, "grace@example.com", "Grace Hopper", false, acme, Role::Developer)?;
        let leaver = self.user(tx, "linus@example.com", "Linus Left", false, acme, Role::Developer)?;
        let actor = console(acme, Some(ada));
        self.webhooks(tx, &actor)?;
        let draft = TokenDraft {
            name: Some("Demo traffic".to_owned()),
            tenant: Some(acme),
            scopes: Some(vec!["*".to_owned()]),
            expires_at: None,
        };
        let token = access_tokens::mint_for(tx, &who, self.hasher, ada, NewToken::parse(draft, self.now)?)?;
        let cast = Cast {
            tenant: acme,
            token: token.secret.reveal_once(),
            storefront: self.key(tx, &actor, "Storefront", |key| {
                key.scopes = words(&["orders:read", "orders:write"]);
                key.rate_limit = Some(20_000);
            })?,
            scanner: self.key(tx, &actor, "Warehouse scanner", |key| {
                key.scopes = words(&["inventory:write"]);
                key.rate_limit = Some(5000);
            })?,
            report: self.rotating(tx, &actor, "Nightly report")?,
            revoked: self.revoked(tx, &actor)?,
            leaver: self
                .key(tx, &console(acme, Some(leaver)), "Linus' script", |key| key.requires_owner = Some(true))?,
        };
        self.key(tx, &actor, "Partner sandbox", |key| {
            key.environment = Some("test".to_owned());
            key.expires_at = Some(self.now + TimeDelta::days(9));
        })?;
        accounts::update(tx, &who, leaver, UserChange { is_active: Some(false), ..UserChange::default() })?;
        store::samples::insert_past(tx, acme, self.now)?;
        Ok(cast)
    }

    fn user(
        &self,
        tx: &mut Tx<'_>,
        email: &str,
        name: &str,
        is_operator: bool,
        tenant: TenantId,
        role: Role,
    ) -> Result<UserId> {
        let who = Operator::at_the_console();
        let ask = NewUser::parse(email, Some(name), PASSWORD, is_operator, &[])?;
        let user = accounts::create(tx, &who, &ask)?.id;
        tenants::add_member(tx, &who, tenant, user, role)?;
        Ok(user)
    }

    fn key(&self, tx: &mut Tx<'_>, actor: &Actor, name: &str, more: impl FnOnce(&mut KeyDraft)) -> Result<String> {
        let mut draft = KeyDraft { name: Some(name.to_owned()), ..KeyDraft::default() };
        more(&mut draft);
        let minted = api_keys::mint(tx, actor, self.hasher, NewKey::parse(draft, self.now)?)?;
        Ok(minted.secret.reveal_once())
    }

    /// Creates a key, rotates it and returns the old secret. Traffic keeps using it, as the key's page shows.
    fn rotating(&self, tx: &mut Tx<'_>, actor: &Actor, name: &str) -> Result<String> {
        let draft = KeyDraft { name: Some(name.to_owned()), rate_limit: Some(60), ..KeyDraft::default() };
        let minted = api_keys::mint(tx, actor, self.hasher, NewKey::parse(draft, self.now)?)?;
        let overlap = Overlap::parse(Some(Overlap::LONGEST_SECONDS))?;
        api_keys::rotate(tx, actor, self.hasher, minted.key.id, overlap)?;
        Ok(minted.secret.reveal_once())
    }

    fn revoked(&self, tx: &mut Tx<'_>, actor: &Actor) -> Result<String> {
        let draft = KeyDraft { name: Some("Old integration".to_owned()), ..KeyDraft::default() };
        let minted = api_keys::mint(tx, actor, self.hasher, NewKey::parse(draft, self.now)?)?;
        api_keys::revoke(tx, actor, minted.key.id, Some("replaced by Storefront"))?;
        Ok(minted.secret.reveal_once())
    }

    fn webhooks(&self, tx: &mut Tx<'_>, actor: &Actor) -> Result<()> {
        let all: [(&str, &str, &[&str], &str); 4] = [
            ("Order notifications", "orders", &["order.*"], "standard"),
            ("Warehouse", "warehouse", &["order.shipped", "inventory.*"], "standard"),
            ("Analytics", "analytics", &["*"], "event"),
            ("Old CRM", "crm", &["customer.*"], "raw"),
        ];
        for (name, path, events, format) in all {
            let ask = WebhookFields {
                name: Some(name.to_owned()),
                url: Some(format!("http://{}/{path}", self.receiver)),
                events: Some(words(events)),
                payload_format: Some(format.to_owned()),
                ..WebhookFields::default()
            };
            let subscribed = webhooks::subscribe(tx, self.vault, self.policy, actor, &ask)?;
            if path == "crm" {
                webhooks::deactivate(tx, actor, subscribed.webhook.id)?;
            }
        }
        Ok(())
    }
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

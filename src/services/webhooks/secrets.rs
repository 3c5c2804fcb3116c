//! Signing secrets and key pairs of a webhook: reveal, rotation and removal.

use chrono::TimeDelta;
use diesel::pg::PgConnection;

use super::super::audit::{self, AuditedAct};
use super::{Subscribed, target, to_change, to_reveal};
use crate::domain::signature::SigningSecret;
use crate::domain::signing_key::SigningKey;
use crate::domain::vault::Vault;
use crate::domain::{Actor, Error, Permission, Rejection, Result, WebhookId};
use crate::model::{PublicKey, Webhook};
use crate::store::signing_secrets::{self, Kind};
use crate::store::{self, Scope, Tx};

/// Default overlap of a rotation, during which the old secret signs as well.
pub const DEFAULT_OVERLAP: TimeDelta = TimeDelta::hours(24);
const MAX_OVERLAP: TimeDelta = TimeDelta::days(7);
/// Maximum number of live secrets per webhook, and of live key pairs.
const MAX_LIVE: usize = 5;

pub(super) fn keep(tx: &mut Tx<'_>, vault: &Vault, webhook: &Webhook, secret: &SigningSecret) -> Result<()> {
    let now = tx.now;
    let sealed = vault.seal(webhook.tenant_id, &Webhook::vault_name(webhook.id), secret.reveal().as_bytes())?;
    signing_secrets::insert(tx, webhook.tenant_id, webhook.id, &sealed, None, now)
}

pub(super) fn keep_key(tx: &mut Tx<'_>, vault: &Vault, webhook: &Webhook, key: &SigningKey) -> Result<()> {
    let now = tx.now;
    let sealed = vault.seal(webhook.tenant_id, &Webhook::vault_name(webhook.id), key.reveal().as_bytes())?;
    signing_secrets::insert(tx, webhook.tenant_id, webhook.id, &sealed, Some(&key.public()), now)
}

/// Reveals the newest signing secret. Each call is recorded in the audit log.
pub fn reveal(tx: &mut Tx<'_>, vault: &Vault, actor: &Actor, id: WebhookId) -> Result<SigningSecret> {
    let now = tx.now;
    let webhook = to_reveal(tx, actor, id)?;
    let live = signing_secrets::list_live(tx, actor.tenant, id, Kind::Secret, now)?;
    let newest = live.first().ok_or_else(|| Error::bug("a webhook without a signing secret"))?;
    let secret = SigningSecret::from_bytes(vault.open(actor.tenant, &Webhook::vault_name(id), &newest.sealed)?)?;
    let deed = AuditedAct::new("webhook.secret_revealed", target(id)).with("name", webhook.name.as_str());
    audit::record(tx, actor, deed)?;
    Ok(secret)
}

/// Adds a new secret. Old secrets sign as well during `overlap` (0 to 7 days).
pub fn rotate(
    tx: &mut Tx<'_>,
    vault: &Vault,
    actor: &Actor,
    id: WebhookId,
    overlap: TimeDelta,
    brought: Option<&str>,
) -> Result<Subscribed> {
    let webhook = to_rotate(tx, actor, id, overlap)?;
    let secret = match brought.filter(|text| !text.is_empty()) {
        Some(text) => SigningSecret::parse(text).map_err(|rejection| Error::field("secret", rejection))?,
        None => SigningSecret::generate()?,
    };
    make_room(tx, &webhook, Kind::Secret, overlap)?;
    keep(tx, vault, &webhook, &secret)?;
    let deed = AuditedAct::new("webhook.secret_rotated", target(id)).with("name", webhook.name.as_str());
    audit::record(tx, actor, deed.with("overlap_seconds", overlap.num_seconds()))?;
    Ok(Subscribed { webhook, secret })
}

/// Adds a new key pair. Old key pairs sign as well during `overlap` (0 to 7 days).
pub fn rotate_key(
    tx: &mut Tx<'_>,
    vault: &Vault,
    actor: &Actor,
    id: WebhookId,
    overlap: TimeDelta,
    brought: Option<&str>,
) -> Result<Webhook> {
    let webhook = to_rotate(tx, actor, id, overlap)?;
    let key = match brought.filter(|text| !text.is_empty()) {
        Some(text) => SigningKey::parse(text).map_err(|rejection| Error::field("signing_key", rejection))?,
        None => SigningKey::generate()?,
    };
    make_room(tx, &webhook, Kind::KeyPair, overlap)?;
    keep_key(tx, vault, &webhook, &key)?;
    let deed = AuditedAct::new("webhook.key_rotated", target(id)).with("name", webhook.name.as_str());
    let deed = deed.with("overlap_seconds", overlap.num_seconds()).with("public_key", key.public());
    audit::record(tx, actor, deed)?;
    Ok(webhook)
}

/// Removes all key pairs of a webhook. Shared secrets keep signing.
pub fn remove_key(tx: &mut Tx<'_>, actor: &Actor, id: WebhookId) -> Result<Webhook> {
    let now = tx.now;
    let webhook = to_rotate(tx, actor, id, TimeDelta::zero())?;
    if 0 < signing_secrets::update_expiry(tx, actor.tenant, id, Kind::KeyPair, now)? {
        let deed = AuditedAct::new("webhook.key_removed", target(id)).with("name", webhook.name.as_str());
        audit::record(tx, actor, deed)?;
    }
    Ok(webhook)
}

/// Returns the public keys that sign now, newest first. The caller has checked that the actor may read the scope.
pub fn public_keys(tx: &mut Tx<'_>, scope: Scope, webhooks: &[WebhookId]) -> Result<Vec<PublicKey>> {
    let now = tx.now;
    store::signing_secrets::list_public(tx, scope, webhooks, now)
}

/// Locks and returns the webhook, if this actor may change its secrets and the overlap is valid.
fn to_rotate(conn: &mut PgConnection, actor: &Actor, id: WebhookId, overlap: TimeDelta) -> Result<Webhook> {
    let webhook = to_change(conn, actor, id, Permission::RevealSecrets)?;
    if overlap < TimeDelta::zero() || MAX_OVERLAP < overlap {
        let detail = "must be from 0 to 604800 seconds (7 days)";
        return Err(Error::field("overlap_seconds", Rejection::new("range", detail)));
    }
    Ok(webhook)
}

/// Lets current signers end with the overlap. Refuses if too many would sign at once.
fn make_room(tx: &mut Tx<'_>, webhook: &Webhook, kind: Kind, overlap: TimeDelta) -> Result<()> {
    let now = tx.now;
    let live = signing_secrets::list_live(tx, webhook.tenant_id, webhook.id, kind, now)?.len();
    if MAX_LIVE <= live && overlap > TimeDelta::zero() {
        let what = if kind == Kind::Secret { "secrets" } else { "key pairs" };
        let says = format!(
            "{MAX_LIVE} {what} already sign for this webhook: wait until one expires, or rotate without overlap"
        );
        return Err(Error::LimitReached(says));
    }
    signing_secrets::update_expiry(tx, webhook.tenant_id, webhook.id, kind, now + overlap)?;
    Ok(())
}

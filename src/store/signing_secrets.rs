//! Queries on `signing_secrets`: shared secrets and key pairs of webhooks. The newest of each kind signs first.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::Scope;
use crate::domain::{Result, TenantId, WebhookId};
use crate::model::{PublicKey, SealedSecret};
use crate::schema::signing_secrets;

/// Kind of a signing secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Shared secret, for HMAC signatures.
    Secret,
    /// Key pair, for Ed25519 signatures.
    KeyPair,
}

/// Inserts a sealed secret; `public_key` is set for a key pair.
pub fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    sealed: &[u8],
    public_key: Option<&str>,
    now: DateTime<Utc>,
) -> Result<()> {
    let row = (
        signing_secrets::tenant_id.eq(tenant),
        signing_secrets::webhook_id.eq(webhook),
        signing_secrets::sealed.eq(sealed),
        signing_secrets::public_key.eq(public_key),
        signing_secrets::created_at.eq(now),
    );
    diesel::insert_into(signing_secrets::table).values(row).execute(conn)?;
    Ok(())
}

/// Lists a webhook's live secrets of one kind, newest first.
pub fn list_live(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    kind: Kind,
    now: DateTime<Utc>,
) -> Result<Vec<SealedSecret>> {
    let live = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(now));
    let query = SealedSecret::query().filter(signing_secrets::tenant_id.eq(tenant));
    let query = query.filter(signing_secrets::webhook_id.eq(webhook)).filter(live).filter(is_of(kind));
    Ok(query.order(signing_secrets::id.desc()).load(conn)?)
}

type IsOf = Box<dyn diesel::BoxableExpression<signing_secrets::table, diesel::pg::Pg, SqlType = Bool>>;

fn is_of(kind: Kind) -> IsOf {
    match kind {
        Kind::Secret => Box::new(signing_secrets::public_key.is_null()),
        Kind::KeyPair => Box::new(signing_secrets::public_key.is_not_null()),
    }
}

/// Lists the live public keys of these webhooks, newest first.
pub fn list_public(
    conn: &mut PgConnection,
    scope: Scope,
    webhooks: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<Vec<PublicKey>> {
    let live = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(now));
    let query = signing_secrets::table.select(PublicKey::as_select()).filter(live);
    let query =
        query.filter(signing_secrets::webhook_id.eq_any(webhooks)).filter(signing_secrets::public_key.is_not_null());
    let mut query = query.order(signing_secrets::id.desc()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(signing_secrets::tenant_id.eq(tenant));
    }
    Ok(query.load(conn)?)
}

/// Ends the webhook's secrets of one kind at `until`, except those that end earlier. Returns their number.
pub fn update_expiry(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    kind: Kind,
    until: DateTime<Utc>,
) -> Result<usize> {
    let longer = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(until));
    let rows = signing_secrets::table.filter(signing_secrets::tenant_id.eq(tenant));
    let rows = rows.filter(signing_secrets::webhook_id.eq(webhook)).filter(longer);
    let set = signing_secrets::expires_at.eq(until);
    Ok(match kind {
        Kind::Secret => diesel::update(rows.filter(signing_secrets::public_key.is_null())).set(set).execute(conn)?,
        Kind::KeyPair => {
            diesel::update(rows.filter(signing_secrets::public_key.is_not_null())).set(set).execute(conn)?
        }
    })
}

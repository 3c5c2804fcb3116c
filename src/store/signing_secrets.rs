//! Queries on `signing_secrets`. The newest one of a webhook signs first.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, TenantId, WebhookId};
use crate::model::SealedSecret;
use crate::schema::signing_secrets;

pub fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    sealed: &[u8],
    now: DateTime<Utc>,
) -> Result<()> {
    let row = (
        signing_secrets::tenant_id.eq(tenant),
        signing_secrets::webhook_id.eq(webhook),
        signing_secrets::sealed.eq(sealed),
        signing_secrets::created_at.eq(now),
    );
    diesel::insert_into(signing_secrets::table).values(row).execute(conn)?;
    Ok(())
}

/// Those of one webhook that sign now, newest first.
pub fn list_live(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<Vec<SealedSecret>> {
    let live = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(now));
    let query = SealedSecret::query().filter(signing_secrets::tenant_id.eq(tenant));
    let query = query.filter(signing_secrets::webhook_id.eq(webhook)).filter(live);
    Ok(query.order(signing_secrets::id.desc()).load(conn)?)
}

/// Lets those that sign now sign no longer than until then.
pub fn update_expiry(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    until: DateTime<Utc>,
) -> Result<()> {
    let longer = signing_secrets::expires_at.is_null().or(signing_secrets::expires_at.gt(until));
    let rows = signing_secrets::table.filter(signing_secrets::tenant_id.eq(tenant));
    let rows = rows.filter(signing_secrets::webhook_id.eq(webhook)).filter(longer);
    diesel::update(rows).set(signing_secrets::expires_at.eq(until)).execute(conn)?;
    Ok(())
}

//! Queries on `invitations`, which are found by the digest of their link or by their tenant.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::domain::mail::MailState;
use crate::domain::page::Paging;
use crate::domain::{InvitationId, Result, TenantId, UserId};
use crate::model::{Invitation, NewInvitation};
use crate::schema::invitations;

/// Condition for invitations that are neither accepted nor revoked; they may have expired.
const UNDECIDED: &str = "accepted_at IS NULL AND revoked_at IS NULL";

/// Inserts an invitation and returns its row.
pub fn insert(conn: &mut PgConnection, row: &NewInvitation<'_>) -> Result<Invitation> {
    let made = diesel::insert_into(invitations::table).values(row).returning(Invitation::as_returning());
    Ok(made.get_result(conn)?)
}

/// Finds an invitation of this tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: InvitationId) -> Result<Option<Invitation>> {
    Ok(Invitation::query().filter(invitations::tenant_id.eq(tenant)).find(id).first(conn).optional()?)
}

/// Finds the invitation of a link, if it can still be accepted.
pub fn find_live(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<Option<Invitation>> {
    let found = Invitation::query()
        .filter(invitations::digest.eq(digest))
        .filter(invitations::expires_at.gt(now))
        .filter(sql::<Bool>(UNDECIDED));
    Ok(found.first(conn).optional()?)
}

/// Lists invitations that can still be accepted, newest first.
pub fn list_live(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<Vec<Invitation>> {
    Ok(live(tenant, now).select(Invitation::as_select()).order(invitations::id.desc()).load(conn)?)
}

/// Returns one page of invitations that can still be accepted and one row more, newest first.
pub fn page_live(
    conn: &mut PgConnection,
    tenant: TenantId,
    paging: &Paging<InvitationId>,
    now: DateTime<Utc>,
) -> Result<Vec<Invitation>> {
    let mut query = live(tenant, now).order(invitations::id.desc()).limit(paging.size.plus_one());
    if let Some(before) = paging.before {
        query = query.filter(invitations::id.lt(before));
    }
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.select(Invitation::as_select()).load(conn)?)
}

/// Counts the invitations that can still be accepted.
pub fn count_live(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<i64> {
    Ok(live(tenant, now).count().get_result(conn)?)
}

/// Selects the invitations of a tenant that can still be accepted.
fn live<'a>(tenant: TenantId, now: DateTime<Utc>) -> invitations::BoxedQuery<'a, Pg> {
    let live = invitations::table.filter(invitations::tenant_id.eq(tenant)).filter(invitations::expires_at.gt(now));
    live.filter(sql::<Bool>(UNDECIDED)).into_boxed()
}

/// Accepts the invitation of a link. Of several concurrent calls, one gets it.
pub fn redeem(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<Option<Invitation>> {
    let live = invitations::table
        .filter(invitations::digest.eq(digest))
        .filter(invitations::expires_at.gt(now))
        .filter(sql::<Bool>(UNDECIDED));
    let used = diesel::update(live).set(invitations::accepted_at.eq(now)).returning(Invitation::as_returning());
    Ok(used.get_result(conn).optional()?)
}

/// Revokes an invitation. Returns true if it was undecided until now.
pub fn revoke(conn: &mut PgConnection, tenant: TenantId, id: InvitationId, now: DateTime<Utc>) -> Result<bool> {
    let live = invitations::table
        .filter(invitations::tenant_id.eq(tenant))
        .filter(invitations::id.eq(id))
        .filter(sql::<Bool>(UNDECIDED));
    Ok(diesel::update(live).set(invitations::revoked_at.eq(now)).execute(conn)? == 1)
}

/// Sets the state of the mail with this link, if an invitation has the link.
pub fn update_mail(conn: &mut PgConnection, digest: &[u8], state: MailState, error: Option<&str>) -> Result<()> {
    let set = (invitations::mail_state.eq(state), invitations::mail_error.eq(error));
    diesel::update(invitations::table.filter(invitations::digest.eq(digest))).set(set).execute(conn)?;
    Ok(())
}

/// Lists the undecided invitations of one inviter, in one tenant or in all, ordered by tenant and age.
pub fn list_undecided(conn: &mut PgConnection, tenant: Option<TenantId>, inviter: UserId) -> Result<Vec<Invitation>> {
    let sent = Invitation::query().filter(invitations::invited_by.eq(inviter)).filter(sql::<Bool>(UNDECIDED));
    let mut sent = sent.into_boxed();
    if let Some(tenant) = tenant {
        sent = sent.filter(invitations::tenant_id.eq(tenant));
    }
    Ok(sent.order((invitations::tenant_id, invitations::id)).load(conn)?)
}

/// Deletes up to `limit` invitations that expired before a time, and returns their number.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let others = diesel::alias!(invitations as others);
    let old = others.filter(others.field(invitations::expires_at).lt(before)).select(others.field(invitations::id));
    let old = old.limit(limit);
    Ok(diesel::delete(invitations::table).filter(invitations::id.eq_any(old)).execute(conn)?)
}

//! One-time links: their digests, and the right of the person who made one.
//!
//! A link works only as long as its creator has the right to make it. Losing the right also ends the link for good, so that
//! lists tell the truth and a right that comes back revives nothing. What the console makes has no creator and needs no
//! right: the console holds the database.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use sha2::{Digest, Sha256};

use super::{Operator, account, invitations};
use crate::domain::{Result, UserId};
use crate::store;

/// SHA-256 of a link's token: the only trace of it in the database.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// True if a link with this digest would be taken now.
pub(super) fn is_usable(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    Ok(account::is_reset_usable(conn, digest, now)? || invitations::is_usable(conn, digest, now)?)
}

/// Ends the links that rest on a right that this person no longer has, in all tenants. Runs in `Scope::Instance`.
pub(super) fn end_unbacked(conn: &mut PgConnection, who: &Operator, user: UserId, now: DateTime<Utc>) -> Result<()> {
    if !account::may_reset(conn, Some(user))? {
        store::one_time_links::delete_unused_by(conn, user)?;
    }
    invitations::revoke_unbacked(conn, who, user, now)
}

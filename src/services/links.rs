//! One-time links: their digests, and the right of the person who made one.
//!
//! A link works only as long as its creator has the right to make it. Losing the right also ends the link for good, so that
//! lists tell the truth and a right that comes back revives nothing. What the console makes has no creator and needs no
//! right: the console holds the database.

use sha2::{Digest, Sha256};

use super::{Operator, account, invitations};
use crate::domain::{Result, UserId};
use crate::store::{self, Tx};

/// SHA-256 of a link's token: the only trace of it in the database.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// True if a link with this digest would be taken now.
pub(super) fn is_usable(tx: &mut Tx<'_>, digest: &[u8]) -> Result<bool> {
    Ok(account::is_reset_usable(tx, digest)? || invitations::is_usable(tx, digest)?)
}

/// Ends the links that rest on a right that this person no longer has, in all tenants. Runs in `Scope::Instance`.
pub(super) fn end_unbacked(tx: &mut Tx<'_>, who: &Operator, user: UserId) -> Result<()> {
    if !account::may_reset(tx, Some(user))? {
        store::one_time_links::delete_unused_by(tx, user)?;
    }
    invitations::revoke_unbacked(tx, who, user)
}

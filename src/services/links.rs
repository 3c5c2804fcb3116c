//! One-time links: their digests, and the rights of the people who make them.
//!
//! A link works only while its creator has the right to make it. When the creator loses the right, the link ends for
//! good: lists stay true, and a regained right revives no link. Links made at the console have no creator and need no
//! right, since the console controls the database.

use sha2::{Digest, Sha256};

use super::{Operator, account, invitations};
use crate::domain::{Result, UserId};
use crate::store::{self, Tx};

/// Returns the SHA-256 of a link's token. The database stores only this digest.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Returns true if a link with this digest works now.
pub(super) fn is_usable(tx: &mut Tx<'_>, digest: &[u8]) -> Result<bool> {
    Ok(account::is_reset_usable(tx, digest)? || invitations::is_usable(tx, digest)?)
}

/// Ends links, in all tenants, that need a right this person has lost. Runs in `Scope::Instance`.
pub(super) fn end_unbacked(tx: &mut Tx<'_>, who: &Operator, user: UserId) -> Result<()> {
    if !account::may_reset(tx, Some(user))? {
        store::one_time_links::delete_unused_by(tx, user)?;
    }
    invitations::revoke_unbacked(tx, who, user)
}

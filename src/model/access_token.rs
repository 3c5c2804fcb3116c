//! Rows of `access_tokens`: bearer tokens of users for the management API.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{AccessTokenId, TenantId, UserId};
use crate::schema::access_tokens;

/// An access token. Its secret exists only as a digest.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = access_tokens)]
pub struct AccessToken {
    /// Number of the row.
    pub id: AccessTokenId,
    /// User that the token belongs to.
    pub user_id: UserId,
    /// Tenant that the token is for; `None` for an operator's token for the whole instance.
    pub tenant_id: Option<TenantId>,
    /// Name that the user gave it.
    pub name: String,
    /// Public id, by which a presented token is found.
    pub public_id: String,
    /// Part of the token that may be shown, such as `gpat_3kTq…9xZ2`.
    pub hint: String,
    /// Id of the pepper that the digest was made with.
    pub pepper_id: String,
    /// HMAC-SHA-256 of the token, keyed with the pepper.
    pub digest: Vec<u8>,
    /// Scopes that limit what the token may do.
    pub scopes: Vec<String>,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Last use (UTC).
    pub last_used_at: Option<DateTime<Utc>>,
    /// Time of revocation (UTC).
    pub revoked_at: Option<DateTime<Utc>>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// True if a sign-in with a password created it, directly or through another token: a new password revokes it.
    pub is_from_login: bool,
    /// Token that created this one, whose end ends this one too.
    pub minted_by: Option<AccessTokenId>,
}

impl AccessToken {
    /// True if the token is neither revoked nor expired.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

/// An access token to insert. Fields mean the same as in [`AccessToken`].
#[derive(Debug, Insertable)]
#[diesel(table_name = access_tokens)]
pub struct NewAccessToken {
    /// User that the token belongs to.
    pub user_id: UserId,
    /// Tenant that the token is for; `None` for the whole instance.
    pub tenant_id: Option<TenantId>,
    /// Name that the user gave it.
    pub name: String,
    /// Public id, by which a presented token is found.
    pub public_id: String,
    /// Part of the token that may be shown.
    pub hint: String,
    /// Id of the pepper that the digest was made with.
    pub pepper_id: String,
    /// HMAC-SHA-256 of the token, keyed with the pepper.
    pub digest: Vec<u8>,
    /// Scopes that limit what the token may do.
    pub scopes: Vec<String>,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// True if a sign-in with a password created it.
    pub is_from_login: bool,
    /// Token that created this one.
    pub minted_by: Option<AccessTokenId>,
}

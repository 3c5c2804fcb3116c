//! A row of `access_tokens`: what is kept of a person's bearer token.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{AccessTokenId, TenantId, UserId};
use crate::schema::access_tokens;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = access_tokens)]
pub struct AccessToken {
    pub id: AccessTokenId,
    pub user_id: UserId,
    /// None: for the whole instance, an operator's.
    pub tenant_id: Option<TenantId>,
    pub name: String,
    pub public_id: String,
    pub hint: String,
    pub pepper_id: String,
    pub digest: Vec<u8>,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// Made by a password, and ended with it.
    pub is_from_login: bool,
    /// The token that made it, and with which it ends.
    pub minted_by: Option<AccessTokenId>,
}

impl AccessToken {
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}

#[derive(Debug, Insertable)]
#[diesel(table_name = access_tokens)]
pub struct NewAccessToken {
    pub user_id: UserId,
    pub tenant_id: Option<TenantId>,
    pub name: String,
    pub public_id: String,
    pub hint: String,
    pub pepper_id: String,
    pub digest: Vec<u8>,
    pub scopes: Vec<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    /// Made by a password, and ended with it.
    pub is_from_login: bool,
    pub minted_by: Option<AccessTokenId>,
}

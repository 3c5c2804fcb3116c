//! A row of `mails`: a letter that waits to be sent.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::TenantId;
use crate::schema::mails;

#[derive(Clone, HasQuery)]
#[diesel(table_name = mails)]
pub struct Mail {
    pub id: i64,
    /// None for what a person gets as themselves.
    pub tenant_id: Option<TenantId>,
    pub recipient: String,
    /// Subject and text.
    pub sealed: Vec<u8>,
    /// The one that is under way included.
    pub attempts: i64,
    pub next_attempt_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    /// SHA-256 of the token of the link in it.
    pub link_digest: Option<Vec<u8>>,
}

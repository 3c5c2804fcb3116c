//! Rows of `mails`: mail that waits to be sent.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::TenantId;
use crate::schema::mails;

/// A mail that waits to be sent.
#[derive(Clone, HasQuery)]
#[diesel(table_name = mails)]
pub struct Mail {
    /// Number of the row.
    pub id: i64,
    /// Tenant that the mail belongs to; `None` for mail to a person as such.
    pub tenant_id: Option<TenantId>,
    /// E-mail address of the recipient.
    pub recipient: String,
    /// Subject and text, sealed with the master key.
    pub sealed: Vec<u8>,
    /// Attempts to send it, including the one under way.
    pub attempts: i64,
    /// Due time of the next attempt (UTC).
    pub next_attempt_at: DateTime<Utc>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// SHA-256 of the token of the link in the mail; `None` without a link.
    pub link_digest: Option<Vec<u8>>,
}

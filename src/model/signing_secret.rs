//! A row of `signing_secrets`: sealed, and readable only with the master key.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{TenantId, WebhookId};
use crate::schema::signing_secrets;

#[derive(Clone, HasQuery)]
#[diesel(table_name = signing_secrets)]
pub struct SealedSecret {
    pub id: i64,
    pub tenant_id: TenantId,
    pub webhook_id: WebhookId,
    pub sealed: Vec<u8>,
    pub created_at: DateTime<Utc>,
    /// Set once a newer secret has taken over; until then this one signs along.
    pub expires_at: Option<DateTime<Utc>>,
}

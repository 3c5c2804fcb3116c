//! Rows of `signing_secrets`: shared secrets and key pairs, sealed, and readable only with the master key.

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
    /// `whpk_…` where this is a key pair; nothing where it is a shared secret.
    pub public_key: Option<String>,
}

/// A public key that receivers may verify with.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = signing_secrets)]
pub struct PublicKey {
    pub webhook_id: WebhookId,
    /// `whpk_…`
    pub public_key: Option<String>,
    /// Set once a newer one has taken over; until then this one signs along.
    pub expires_at: Option<DateTime<Utc>>,
}

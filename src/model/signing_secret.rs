//! Rows of `signing_secrets`: shared secrets and key pairs, sealed with the master key.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{TenantId, WebhookId};
use crate::schema::signing_secrets;

/// A sealed signing secret of a webhook.
#[derive(Clone, HasQuery)]
#[diesel(table_name = signing_secrets)]
pub struct SealedSecret {
    /// Number of the row.
    pub id: i64,
    /// Tenant that the webhook belongs to.
    pub tenant_id: TenantId,
    /// Webhook that the secret signs for.
    pub webhook_id: WebhookId,
    /// Secret, sealed with the master key.
    pub sealed: Vec<u8>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// End of the overlap (UTC), until which a replaced secret signs beside its successor; `None` for the newest.
    pub expires_at: Option<DateTime<Utc>>,
    /// Public key (`whpk_…`) of a key pair; `None` for a shared secret.
    pub public_key: Option<String>,
}

/// A public key with which receivers can verify signatures.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = signing_secrets)]
pub struct PublicKey {
    /// Webhook that the key signs for.
    pub webhook_id: WebhookId,
    /// Public key (`whpk_…`).
    pub public_key: Option<String>,
    /// End of the overlap (UTC), until which a replaced key signs beside its successor; `None` for the newest.
    pub expires_at: Option<DateTime<Utc>>,
}

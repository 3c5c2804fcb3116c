//! Result row of a claim: a delivery that was just leased, with all that its request is made from.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::webhook::{PayloadFormat, SignatureStyle};
use crate::domain::{AttemptId, DeliveryId, EventId, TenantId, WebhookId};

/// A delivery that was just leased.
#[derive(Debug, Clone, QueryableByName)]
pub struct Claimed {
    /// Id of the delivery.
    #[diesel(sql_type = SqlUuid)]
    pub id: DeliveryId,
    /// Token of the lease.
    #[diesel(sql_type = SqlUuid)]
    pub lease_token: Uuid,
    /// Id of the coming attempt. Until the attempt is written, the lease is its only record.
    #[diesel(sql_type = SqlUuid)]
    pub attempt_id: AttemptId,
    /// Start of the attempt (UTC).
    #[diesel(sql_type = Timestamptz)]
    pub attempted_at: DateTime<Utc>,
    /// Tenant that the delivery belongs to.
    #[diesel(sql_type = BigInt)]
    pub tenant_id: TenantId,
    /// Slug of the tenant, sent in the envelope.
    #[diesel(sql_type = Text)]
    pub tenant_slug: String,
    /// Event to deliver.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: EventId,
    /// Type of the event.
    #[diesel(sql_type = Text)]
    pub event_type: String,
    /// Payload as the exact JSON text that was published.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// Time at which the event was published (UTC).
    #[diesel(sql_type = Timestamptz)]
    pub event_at: DateTime<Utc>,
    /// Webhook to deliver to.
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    /// URL of the webhook.
    #[diesel(sql_type = Text)]
    pub url: String,
    /// Format of the request body.
    #[diesel(sql_type = Text)]
    pub payload_format: PayloadFormat,
    /// Style of the signature over the body.
    #[diesel(sql_type = Text)]
    pub signature_style: SignatureStyle,
    /// Seconds that the request may take.
    #[diesel(sql_type = BigInt)]
    pub timeout_seconds: i64,
    /// The webhook's own headers, sealed.
    #[diesel(sql_type = Jsonb)]
    pub headers: Value,
    /// Number of this attempt, from 1.
    #[diesel(sql_type = BigInt)]
    pub attempts_made: i64,
    /// Maximum number of attempts of the delivery.
    #[diesel(sql_type = BigInt)]
    pub attempts_max: i64,
    /// Seconds before each retry by the webhook's own schedule; `None` for the default one.
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    pub retry_gaps: Option<Vec<i64>>,
    /// Sealed signing secrets that are live, newest first.
    #[diesel(sql_type = Array<Bytea>)]
    pub secrets: Vec<Vec<u8>>,
    /// True if the webhook has failed since its last success.
    #[diesel(sql_type = Bool)]
    pub is_failing: bool,
}

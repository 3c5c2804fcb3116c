//! A delivery that was just leased, with everything that its request is made from.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Bytea, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::webhook::{PayloadFormat, SignatureStyle};
use crate::domain::{AttemptId, DeliveryId, EventId, TenantId, WebhookId};

#[derive(Debug, Clone, QueryableByName)]
pub struct Claimed {
    #[diesel(sql_type = SqlUuid)]
    pub id: DeliveryId,
    #[diesel(sql_type = SqlUuid)]
    pub lease_token: Uuid,
    /// The attempt that it is about to have. The lease tells of it until it is written down.
    #[diesel(sql_type = SqlUuid)]
    pub attempt_id: AttemptId,
    #[diesel(sql_type = Timestamptz)]
    pub attempted_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub tenant_id: TenantId,
    #[diesel(sql_type = Text)]
    pub tenant_slug: String,
    #[diesel(sql_type = SqlUuid)]
    pub event_id: EventId,
    #[diesel(sql_type = Text)]
    pub event_type: String,
    #[diesel(sql_type = Text)]
    pub payload: String,
    #[diesel(sql_type = Timestamptz)]
    pub event_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    #[diesel(sql_type = Text)]
    pub url: String,
    #[diesel(sql_type = Text)]
    pub payload_format: PayloadFormat,
    #[diesel(sql_type = Text)]
    pub signature_style: SignatureStyle,
    #[diesel(sql_type = BigInt)]
    pub timeout_seconds: i64,
    #[diesel(sql_type = Jsonb)]
    pub headers: Value,
    #[diesel(sql_type = BigInt)]
    pub attempts_made: i64,
    #[diesel(sql_type = BigInt)]
    pub attempts_max: i64,
    /// The webhook's own schedule.
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    pub retry_gaps: Option<Vec<i64>>,
    /// Sealed signing secrets that are live, newest first.
    #[diesel(sql_type = Array<Bytea>)]
    pub secrets: Vec<Vec<u8>>,
    /// Whether its webhook has been answering with nothing but failures.
    #[diesel(sql_type = Bool)]
    pub is_failing: bool,
}

//! A row of `attempts`: one HTTP request of a delivery, shown as the webhook log.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::delivery::{ErrorKind, Timings};
use crate::domain::webhook::PayloadFormat;
use crate::domain::{AttemptId, DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::{attempts, events};

// The database has no foreign key here: partitions of both tables are dropped by age.
diesel::joinable!(attempts -> events (event_id));

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = attempts)]
pub struct Attempt {
    pub id: AttemptId,
    pub tenant_id: TenantId,
    pub delivery_id: DeliveryId,
    pub event_id: EventId,
    pub event_type: String,
    pub webhook_id: WebhookId,
    /// From 1.
    pub number: i64,
    pub request_url: String,
    pub request_headers: Option<Value>,
    pub response_status: Option<i16>,
    pub response_headers: Option<Value>,
    pub response_body: Option<String>,
    pub duration_ms: Option<i64>,
    pub success: bool,
    pub error_kind: Option<ErrorKind>,
    pub error: Option<String>,
    pub remote_address: Option<String>,
    pub created_at: DateTime<Utc>,
    /// Empty while it is under way.
    pub finished_at: Option<DateTime<Utc>>,
    /// How long its phases took, in microseconds: see [`Timings`].
    pub dns_us: Option<i32>,
    pub connect_us: Option<i32>,
    pub first_byte_us: Option<i32>,
    /// How the body that was sent was made; unknown of one that could not be made.
    pub payload_format: Option<PayloadFormat>,
}

impl Attempt {
    pub fn timings(&self) -> Timings {
        Timings { dns_us: self.dns_us, connect_us: self.connect_us, first_byte_us: self.first_byte_us }
    }
}

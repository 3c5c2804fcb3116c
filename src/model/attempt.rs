//! Rows of `attempts`: HTTP requests of deliveries, shown as the webhook log.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::delivery::{ErrorKind, Timings};
use crate::domain::webhook::PayloadFormat;
use crate::domain::{AttemptId, DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::{attempts, events};

// The database has no foreign key here: partitions of both tables are dropped by age.
diesel::joinable!(attempts -> events (event_id));

/// One HTTP request of a delivery.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = attempts)]
pub struct Attempt {
    /// Id of the attempt (UUIDv7), made when the delivery was leased.
    pub id: AttemptId,
    /// Tenant that the delivery belongs to.
    pub tenant_id: TenantId,
    /// Delivery that the attempt belongs to.
    pub delivery_id: DeliveryId,
    /// Event that was delivered.
    pub event_id: EventId,
    /// Type of the event.
    pub event_type: String,
    /// Webhook that the request went to.
    pub webhook_id: WebhookId,
    /// Number of the attempt, from 1.
    pub number: i64,
    /// URL that the request went to.
    pub request_url: String,
    /// Headers of the request, with secret values masked.
    pub request_headers: Option<Value>,
    /// HTTP status of the response; `None` without a response.
    pub response_status: Option<i16>,
    /// Headers of the response.
    pub response_headers: Option<Value>,
    /// Start of the response's body, at most 16 KiB.
    pub response_body: Option<String>,
    /// Milliseconds that the attempt took.
    pub duration_ms: Option<i64>,
    /// True if the webhook accepted the delivery.
    pub success: bool,
    /// Kind of the failure.
    pub error_kind: Option<ErrorKind>,
    /// Description of the failure; set for every failed attempt.
    pub error: Option<String>,
    /// IP address that the request went to.
    pub remote_address: Option<String>,
    /// Start of the attempt (UTC).
    pub created_at: DateTime<Utc>,
    /// End of the attempt (UTC); `None` while it is under way.
    pub finished_at: Option<DateTime<Utc>>,
    /// Microseconds of the name lookup: see [`Timings`].
    pub dns_us: Option<i32>,
    /// Microseconds of the connection, TLS included.
    pub connect_us: Option<i32>,
    /// Microseconds from the start until the head of the response.
    pub first_byte_us: Option<i32>,
    /// Format of the body that was sent; `None` if no body could be made.
    pub payload_format: Option<PayloadFormat>,
}

impl Attempt {
    /// Returns the durations of the attempt's phases.
    pub fn timings(&self) -> Timings {
        Timings { dns_us: self.dns_us, connect_us: self.connect_us, first_byte_us: self.first_byte_us }
    }
}

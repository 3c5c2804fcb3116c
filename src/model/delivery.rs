//! Rows of `deliveries`: one event on its way to one webhook.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::delivery::DeliveryState;
use crate::domain::{DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::{deliveries, open_deliveries};

/// A delivery, joined with its row in `open_deliveries` while it is not finished.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = deliveries)]
#[diesel(base_query = deliveries::table.left_join(open_deliveries::table.on(
    open_deliveries::tenant_id.eq(deliveries::tenant_id).and(open_deliveries::delivery_id.eq(deliveries::id)),
)))]
pub struct Delivery {
    /// Id of the delivery (UUIDv7).
    pub id: DeliveryId,
    /// Tenant that the delivery belongs to.
    pub tenant_id: TenantId,
    /// Event to deliver.
    pub event_id: EventId,
    /// Type of the event.
    pub event_type: String,
    /// Webhook to deliver to.
    pub webhook_id: WebhookId,
    /// State of the delivery.
    pub state: DeliveryState,
    /// Finished attempts.
    attempts_made: i64,
    /// Attempts including the one under way; `None` for a finished delivery.
    #[diesel(select_expression = open_deliveries::attempts_made.nullable())]
    attempts_begun: Option<i64>,
    /// Maximum number of attempts of the delivery.
    pub attempts_max: i64,
    /// Due time of the next attempt (UTC).
    #[diesel(select_expression = open_deliveries::next_attempt_at.nullable())]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Start of the attempt under way (UTC).
    #[diesel(select_expression = open_deliveries::attempted_at.nullable())]
    pub attempted_at: Option<DateTime<Utc>>,
    /// HTTP status of the last response.
    pub last_status: Option<i16>,
    /// Description of the last failure.
    pub last_error: Option<String>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time at which the delivery was finished (UTC).
    pub finished_at: Option<DateTime<Utc>>,
}

impl Delivery {
    /// True while an attempt is under way.
    pub fn is_under_way(&self) -> bool {
        self.attempted_at.is_some()
    }

    /// Returns the number of attempts, including the one under way.
    pub fn attempts_made(&self) -> i64 {
        self.attempts_begun.unwrap_or(self.attempts_made)
    }

    /// Returns when the webhook accepted the delivery, if it did.
    pub fn delivered_at(&self) -> Option<DateTime<Utc>> {
        self.finished_at.filter(|_| self.state == DeliveryState::Delivered)
    }
}

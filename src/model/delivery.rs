//! A row of `deliveries`: one event on its way to one webhook.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use uuid::Uuid;

use crate::domain::delivery::DeliveryState;
use crate::domain::{DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::deliveries;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = deliveries)]
pub struct Delivery {
    pub id: DeliveryId,
    pub tenant_id: TenantId,
    pub event_id: EventId,
    pub event_type: String,
    pub webhook_id: WebhookId,
    pub state: DeliveryState,
    pub attempts_made: i64,
    pub attempts_max: i64,
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Set while an attempt is under way.
    pub lease_token: Option<Uuid>,
    pub lease_until: Option<DateTime<Utc>>,
    pub last_status: Option<i16>,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Delivery {
    pub fn is_under_way(&self) -> bool {
        self.lease_token.is_some()
    }

    pub fn delivered_at(&self) -> Option<DateTime<Utc>> {
        self.finished_at.filter(|_| self.state == DeliveryState::Delivered)
    }
}

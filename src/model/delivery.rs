//! A row of `deliveries`: one event on its way to one webhook.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::delivery::DeliveryState;
use crate::domain::{DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::{deliveries, open_deliveries};

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = deliveries)]
#[diesel(base_query = deliveries::table.left_join(open_deliveries::table.on(
    open_deliveries::tenant_id.eq(deliveries::tenant_id).and(open_deliveries::delivery_id.eq(deliveries::id)),
)))]
pub struct Delivery {
    pub id: DeliveryId,
    pub tenant_id: TenantId,
    pub event_id: EventId,
    pub event_type: String,
    pub webhook_id: WebhookId,
    pub state: DeliveryState,
    attempts_made: i64,
    /// With the one under way, while it is open.
    #[diesel(select_expression = open_deliveries::attempts_made.nullable())]
    attempts_begun: Option<i64>,
    pub attempts_max: i64,
    #[diesel(select_expression = open_deliveries::next_attempt_at.nullable())]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When the attempt began that is under way.
    #[diesel(select_expression = open_deliveries::attempted_at.nullable())]
    pub attempted_at: Option<DateTime<Utc>>,
    pub last_status: Option<i16>,
    pub last_error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Delivery {
    pub fn is_under_way(&self) -> bool {
        self.attempted_at.is_some()
    }

    /// With the one under way.
    pub fn attempts_made(&self) -> i64 {
        self.attempts_begun.unwrap_or(self.attempts_made)
    }

    pub fn delivered_at(&self) -> Option<DateTime<Utc>> {
        self.finished_at.filter(|_| self.state == DeliveryState::Delivered)
    }
}

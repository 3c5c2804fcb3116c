//! Rows of `events`: published events.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{ApiKeyId, EventId, TenantId, UserId, WebhookId};
use crate::schema::events;

/// An event that was published.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = events)]
pub struct Event {
    /// Id of the event (UUIDv7).
    pub id: EventId,
    /// Tenant that published it.
    pub tenant_id: TenantId,
    /// Type of the event, such as `order.created`.
    #[diesel(column_name = type_)]
    pub kind: String,
    /// Payload as the exact JSON text that was published.
    pub payload: String,
    /// API key that published the event, if one did.
    pub api_key_id: Option<ApiKeyId>,
    /// User who published the event, if one did.
    pub user_id: Option<UserId>,
    /// Webhook of a test event, which goes to it alone.
    pub webhook_id: Option<WebhookId>,
    /// Time of publication (UTC).
    pub created_at: DateTime<Utc>,
}

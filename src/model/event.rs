//! A row of `events`: something that was published once.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{ApiKeyId, EventId, TenantId, UserId, WebhookId};
use crate::schema::events;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = events)]
pub struct Event {
    pub id: EventId,
    pub tenant_id: TenantId,
    #[diesel(column_name = type_)]
    pub kind: String,
    /// The exact JSON text that was published.
    pub payload: String,
    pub api_key_id: Option<ApiKeyId>,
    pub user_id: Option<UserId>,
    /// Set for a test event, which goes to that webhook alone.
    pub webhook_id: Option<WebhookId>,
    pub created_at: DateTime<Utc>,
}

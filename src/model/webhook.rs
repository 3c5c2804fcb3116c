//! A row of `webhooks`: an endpoint that wants to hear of events.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::webhook::{PayloadFormat, SignatureStyle, WebhookState};
use crate::domain::{TenantId, UserId, WebhookId};
use crate::schema::webhooks;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = webhooks)]
pub struct Webhook {
    pub id: WebhookId,
    pub tenant_id: TenantId,
    pub user_id: Option<UserId>,
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub is_active: bool,
    pub payload_format: PayloadFormat,
    pub signature_style: SignatureStyle,
    pub timeout_seconds: i64,
    pub max_in_flight: i64,
    /// An object of names and texts, sent with every request.
    pub headers: Value,
    /// Since when every attempt has failed.
    pub failing_since: Option<DateTime<Utc>>,
    pub disabled_reason: Option<String>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Webhook {
    pub fn state(&self) -> WebhookState {
        WebhookState::derive(self.is_active, self.failing_since.is_some(), self.disabled_reason.is_some())
    }

    /// What the vault binds this webhook's signing secrets to.
    pub fn vault_name(id: WebhookId) -> String {
        format!("webhook:{id}")
    }
}

/// What people decide about a webhook.
#[derive(Debug, Clone, Insertable, AsChangeset)]
#[diesel(table_name = webhooks)]
pub struct WebhookSettings {
    pub name: String,
    pub url: String,
    pub events: Vec<String>,
    pub is_active: bool,
    pub payload_format: PayloadFormat,
    pub signature_style: SignatureStyle,
    pub timeout_seconds: i64,
    pub max_in_flight: i64,
    pub headers: Value,
}

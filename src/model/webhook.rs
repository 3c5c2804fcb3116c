//! A row of `webhooks`: an endpoint that wants to hear of events.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::retry::{self, Schedule};
use crate::domain::webhook::{PayloadFormat, SignatureStyle, WebhookState};
use crate::domain::{DeliveryId, TenantId, UserId, WebhookId};
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
    /// Names and sealed values, sent with every request.
    pub headers: Value,
    /// Since when every attempt has failed.
    pub failing_since: Option<DateTime<Utc>>,
    pub disabled_reason: Option<String>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Requests that may begin within any second.
    pub rate_per_second: Option<i64>,
    /// Seconds before each retry; `None` for the usual ones.
    pub retry_gaps: Option<Vec<i64>>,
    /// When its owner was warned that it will be switched off.
    pub warned_at: Option<DateTime<Utc>>,
    /// The delivery that asks whether it is well again, while it is off.
    pub probe_id: Option<DeliveryId>,
}

impl Webhook {
    pub fn state(&self) -> WebhookState {
        WebhookState::derive(self.is_active, self.failing_since.is_some(), self.disabled_reason.is_some())
    }

    /// When failed deliveries are tried again.
    pub fn schedule(&self) -> Schedule {
        self.retry_gaps.as_deref().map_or_else(Schedule::default, Schedule::of_retries)
    }

    /// Of the headers that it adds to its requests, in the order of the alphabet.
    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// When it is switched off if nothing succeeds until then.
    pub fn switches_off_at(&self) -> Option<DateTime<Utc>> {
        self.failing_since.filter(|_| self.is_active).map(|since| since + retry::DISABLED_AFTER)
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
    #[diesel(treat_none_as_null = true)]
    pub rate_per_second: Option<i64>,
    #[diesel(treat_none_as_null = true)]
    pub retry_gaps: Option<Vec<i64>>,
}

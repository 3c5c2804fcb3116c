//! Rows of `webhooks`: endpoints that receive events.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Timestamptz};
use serde_json::Value;

use crate::domain::retry::{self, Schedule};
use crate::domain::webhook::{PayloadFormat, SignatureStyle, WebhookState};
use crate::domain::{DeliveryId, TenantId, UserId, WebhookId};
use crate::schema::webhooks;

/// Time of the last success: the column, or a newer success among the latest attempts. While a webhook works, the column
/// is written once a minute at most.
pub const LAST_SUCCESS: &str = "(SELECT greatest(webhooks.last_success_at, max(finished_at) FILTER (WHERE success))
    FROM (SELECT success, finished_at FROM attempts a
          WHERE a.tenant_id = webhooks.tenant_id AND a.webhook_id = webhooks.id ORDER BY a.id DESC LIMIT 50) latest)";

/// A webhook: an endpoint with the events that it receives.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = webhooks)]
pub struct Webhook {
    /// Number of the row.
    pub id: WebhookId,
    /// Tenant that the webhook belongs to.
    pub tenant_id: TenantId,
    /// User who owns it.
    pub user_id: Option<UserId>,
    /// Name that users gave it.
    pub name: String,
    /// URL that deliveries go to.
    pub url: String,
    /// Patterns of the event types that it receives.
    pub events: Vec<String>,
    /// False if the webhook is paused or disabled.
    pub is_active: bool,
    /// Format of the request body.
    pub payload_format: PayloadFormat,
    /// Style of the signature over the body.
    pub signature_style: SignatureStyle,
    /// Seconds that a request may take.
    pub timeout_seconds: i64,
    /// Maximum number of requests in flight at once.
    pub max_in_flight: i64,
    /// Headers added to every request: names in clear, values sealed.
    pub headers: Value,
    /// Time of the first failure since the last success (UTC); `None` if healthy.
    pub failing_since: Option<DateTime<Utc>>,
    /// Reason why the server disabled it; `None` if a user paused it.
    pub disabled_reason: Option<String>,
    /// Time of the last success (UTC).
    #[diesel(select_expression = sql(LAST_SUCCESS), select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub last_success_at: Option<DateTime<Utc>>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
    /// Maximum number of requests that may start within one second; `None` for no limit.
    pub rate_per_second: Option<i64>,
    /// Seconds before each retry; `None` for the default schedule.
    pub retry_gaps: Option<Vec<i64>>,
    /// Time at which the owner was warned that the webhook will be disabled (UTC).
    pub warned_at: Option<DateTime<Utc>>,
    /// Delivery that tests a disabled webhook.
    pub probe_id: Option<DeliveryId>,
}

impl Webhook {
    /// Returns the state of the webhook.
    pub fn state(&self) -> WebhookState {
        WebhookState::derive(self.is_active, self.failing_since.is_some(), self.disabled_reason.is_some())
    }

    /// Returns the schedule of attempts.
    pub fn schedule(&self) -> Schedule {
        self.retry_gaps.as_deref().map_or_else(Schedule::default, Schedule::of_retries)
    }

    /// Returns the names of the webhook's own headers, in alphabetical order.
    pub fn header_names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.headers.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Returns when a failing webhook will be disabled unless an attempt succeeds.
    pub fn switches_off_at(&self) -> Option<DateTime<Utc>> {
        self.failing_since.filter(|_| self.is_active).map(|since| since + retry::DISABLED_AFTER)
    }

    /// Returns the name to which the vault binds the webhook's secrets.
    pub fn vault_name(id: WebhookId) -> String {
        format!("webhook:{id}")
    }
}

/// Settings of a webhook that users choose.
#[derive(Debug, Clone, Insertable, AsChangeset)]
#[diesel(table_name = webhooks)]
pub struct WebhookSettings {
    /// Name of the webhook.
    pub name: String,
    /// URL that deliveries go to.
    pub url: String,
    /// Patterns of the event types that it receives.
    pub events: Vec<String>,
    /// False to pause the webhook.
    pub is_active: bool,
    /// Format of the request body.
    pub payload_format: PayloadFormat,
    /// Style of the signature over the body.
    pub signature_style: SignatureStyle,
    /// Seconds that a request may take.
    pub timeout_seconds: i64,
    /// Maximum number of requests in flight at once.
    pub max_in_flight: i64,
    /// Maximum number of requests that may start within one second; `None` for no limit.
    #[diesel(treat_none_as_null = true)]
    pub rate_per_second: Option<i64>,
    /// Seconds before each retry; `None` for the default schedule.
    #[diesel(treat_none_as_null = true)]
    pub retry_gaps: Option<Vec<i64>>,
}

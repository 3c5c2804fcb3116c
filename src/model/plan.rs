//! Rows of `plans`: limits on what a tenant may have.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::schema::plans;

/// A plan. A limit that is `None` does not exist.
#[derive(Debug, Clone, PartialEq, Eq, HasQuery)]
#[diesel(table_name = plans)]
pub struct Plan {
    /// Name of the plan: `free`, `pro` or `unlimited`.
    pub name: String,
    /// Maximum number of API keys of a tenant.
    pub max_keys: Option<i64>,
    /// Maximum number of webhooks of a tenant.
    pub max_webhooks: Option<i64>,
    /// Maximum number of members of a tenant.
    pub max_members: Option<i64>,
    /// Maximum number of events that a tenant may publish in a month (UTC).
    pub max_events_per_month: Option<i64>,
    /// Calls an hour of a key that sets no limit.
    pub default_rate_limit: i64,
    /// Maximum number of calls an hour that a key may set.
    pub max_rate_limit: Option<i64>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
}

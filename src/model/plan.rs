//! A row of `plans`: what a tenant may have.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::schema::plans;

#[derive(Debug, Clone, PartialEq, Eq, HasQuery)]
#[diesel(table_name = plans)]
pub struct Plan {
    pub name: String,
    pub max_keys: Option<i64>,
    pub max_webhooks: Option<i64>,
    pub max_members: Option<i64>,
    pub max_events_per_month: Option<i64>,
    /// Requests an hour, of a key that names no limit.
    pub default_rate_limit: i64,
    /// Requests an hour that a key may name at most.
    pub max_rate_limit: Option<i64>,
    pub updated_at: DateTime<Utc>,
}

//! Rows of `tenants`: customer organizations.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::TenantId;
use crate::domain::tenant::{RESTORABLE_FOR, TenantState};
use crate::schema::tenants;

/// A tenant: one customer organization with its own keys, webhooks and members.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = tenants)]
pub struct Tenant {
    /// Number of the row.
    pub id: TenantId,
    /// Name of the tenant.
    pub name: String,
    /// Short name for URLs and requests.
    pub slug: String,
    /// Name of its plan.
    pub plan: String,
    /// True if neither suspended nor deleted: its keys are valid, and its deliveries go out.
    pub is_active: bool,
    /// Prefix of secrets of new keys.
    pub key_prefix: String,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
    /// Time of suspension (UTC).
    pub suspended_at: Option<DateTime<Utc>>,
    /// Reason of the suspension, for members.
    pub suspended_reason: Option<String>,
    /// Time of deletion (UTC); the tenant can be restored for 30 days.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Time zone for pages by its IANA name; `None` for each reader's own.
    pub time_zone: Option<String>,
}

impl Tenant {
    /// Returns the state of the tenant.
    pub fn state(&self) -> TenantState {
        match (self.deleted_at, self.suspended_at) {
            (Some(_), _) => TenantState::Deleted,
            (None, Some(_)) => TenantState::Suspended,
            (None, None) => TenantState::Active,
        }
    }

    /// Returns when a deleted tenant is erased.
    pub fn erased_at(&self) -> Option<DateTime<Utc>> {
        self.deleted_at.map(|at| at + RESTORABLE_FOR)
    }
}

//! A row of `tenants`: one customer organization.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::TenantId;
use crate::domain::tenant::{RESTORABLE_FOR, TenantState};
use crate::schema::tenants;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = tenants)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub plan: String,
    /// Neither suspended nor deleted: its keys are let in, and its deliveries go out.
    pub is_active: bool,
    pub key_prefix: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub suspended_at: Option<DateTime<Utc>>,
    pub suspended_reason: Option<String>,
    pub deleted_at: Option<DateTime<Utc>>,
    /// A name of the IANA database; none: each reader's own.
    pub time_zone: Option<String>,
}

impl Tenant {
    pub fn state(&self) -> TenantState {
        match (self.deleted_at, self.suspended_at) {
            (Some(_), _) => TenantState::Deleted,
            (None, Some(_)) => TenantState::Suspended,
            (None, None) => TenantState::Active,
        }
    }

    /// When a deleted one is erased.
    pub fn erased_at(&self) -> Option<DateTime<Utc>> {
        self.deleted_at.map(|at| at + RESTORABLE_FOR)
    }
}

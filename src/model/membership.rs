//! Rows of `memberships`: roles of users in tenants.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{MembershipId, Role, TenantId, UserId};
use crate::schema::memberships;

/// A user's membership of a tenant.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = memberships)]
pub struct Membership {
    /// Number of the row.
    pub id: MembershipId,
    /// Tenant of the membership.
    pub tenant_id: TenantId,
    /// User who is a member.
    pub user_id: UserId,
    /// Role of the user in the tenant.
    pub role: Role,
    /// Time at which the user joined (UTC).
    pub created_at: DateTime<Utc>,
}

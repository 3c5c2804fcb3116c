//! A row of `memberships`: which role a user has in a tenant.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{MembershipId, Role, TenantId, UserId};
use crate::schema::memberships;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = memberships)]
pub struct Membership {
    pub id: MembershipId,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub role: Role,
    pub created_at: DateTime<Utc>,
}

//! A row of `tenants`: one customer organization.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::TenantId;
use crate::schema::tenants;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = tenants)]
pub struct Tenant {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub plan: String,
    pub is_active: bool,
    pub key_prefix: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

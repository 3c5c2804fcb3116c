//! A row of `api_keys`: what is kept of a key, its secret's digest included.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use serde_json::Value;

use crate::domain::api_key::{Environment, KeyState};
use crate::domain::digest::{HashAlgorithm, StoredDigest};
use crate::domain::limit::Limit;
use crate::domain::limit::named::{self, NamedLimit};
use crate::domain::quota::Quota;
use crate::domain::{ApiKeyId, LineageId, TenantId, UserId};
use crate::schema::api_keys;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = api_keys)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub tenant_id: TenantId,
    pub user_id: Option<UserId>,
    pub name: String,
    pub description: Option<String>,
    pub environment: Environment,
    pub public_id: String,
    pub key_prefix: String,
    pub hint: String,
    pub hash_algorithm: HashAlgorithm,
    pub pepper_id: String,
    pub digest: String,
    pub scopes: Vec<String>,
    pub rate_limit: i64,
    pub rate_window_seconds: i64,
    pub allowed_ips: Vec<String>,
    pub owner: Option<String>,
    pub requires_owner: bool,
    pub metadata: Value,
    pub tags: Vec<String>,
    pub is_active: bool,
    pub expires_at: Option<DateTime<Utc>>,
    #[diesel(select_expression = sql(USED_AT), select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub last_used_at: Option<DateTime<Utc>>,
    #[diesel(select_expression = sql(USED_IP), select_expression_type = SqlLiteral<Nullable<Text>>)]
    pub last_used_ip: Option<String>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub revoked_reason: Option<String>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub version: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// The first key of those that were rotated into each other: they share a limit.
    pub lineage_id: LineageId,
    #[diesel(embed)]
    pub rotation: Rotation,
}

// What changes with every use has a row of its own.
const USED_AT: &str =
    "(SELECT nullif(uses.used_at, 'epoch') FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id)";
const USED_IP: &str = "(SELECT uses.used_ip FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id)";

const SHARED: &str = "(SELECT jsonb_build_object('limits', more.limits, 'quota', more.quota, 'refill', more.refill) \
     FROM key_limits AS more WHERE more.lineage_id = api_keys.lineage_id)";

/// A key's place in its lineage. The rows before and after it say most of it.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub struct Rotation {
    /// The key that this one replaced.
    #[diesel(select_expression = sql(BEFORE), select_expression_type = SqlLiteral<Nullable<BigInt>>)]
    pub rotated_from: Option<ApiKeyId>,
    /// The key that replaced this one.
    #[diesel(select_expression = sql(AFTER), select_expression_type = SqlLiteral<Nullable<BigInt>>)]
    pub rotated_to: Option<ApiKeyId>,
    /// When that was.
    #[diesel(select_expression = sql(REPLACED), select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub replaced_at: Option<DateTime<Utc>>,
    /// Until when a replaced key is let in beside its successor.
    pub rotates_out_at: Option<DateTime<Utc>>,
    /// What the lineage shares beside the first limit: its row of `key_limits`.
    #[diesel(select_expression = sql(SHARED), select_expression_type = SqlLiteral<Nullable<Jsonb>>)]
    shared: Option<Value>,
}

// Ids rise within a lineage; each is one look into `api_keys_by_lineage`.
const BEFORE: &str = "(SELECT max(kin.id) FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id < api_keys.id)";
const AFTER: &str = "(SELECT min(kin.id) FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id > api_keys.id)";
const REPLACED: &str = "(SELECT kin.created_at FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id > api_keys.id ORDER BY kin.id LIMIT 1)";

impl ApiKey {
    pub fn state(&self, now: DateTime<Utc>) -> KeyState {
        if self.deleted_at.is_some() {
            KeyState::Deleted
        } else if self.revoked_at.is_some() {
            KeyState::Revoked
        } else if self.ends_at().is_some_and(|at| at <= now) {
            KeyState::Expired
        } else if !self.is_active {
            KeyState::Disabled
        } else if self.rotation.rotates_out_at.is_some() {
            KeyState::Rotating
        } else {
            KeyState::Active
        }
    }

    /// Whether it was replaced and its overlap is over.
    pub fn is_rotated_out(&self, now: DateTime<Utc>) -> bool {
        self.rotation.rotates_out_at.is_some_and(|at| at <= now)
    }

    /// When it stops by itself: at its expiry or the end of its overlap, whichever comes first.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at.into_iter().chain(self.rotation.rotates_out_at).min()
    }

    pub fn stored_digest(&self) -> StoredDigest {
        StoredDigest { algorithm: self.hash_algorithm, pepper_id: self.pepper_id.clone(), digest: self.digest.clone() }
    }

    pub fn quota(&self) -> Option<Quota> {
        let row = self.rotation.shared.as_ref()?;
        let refill = row.get("refill").and_then(Value::as_str).and_then(|refill| refill.parse().ok());
        Some(Quota { quota: row.get("quota")?.as_i64()?, refill })
    }

    /// Those beside the first one.
    pub fn named_limits(&self) -> Vec<NamedLimit> {
        self.rotation.shared.as_ref().and_then(|row| row.get("limits")).map(named::of_row).unwrap_or_default()
    }

    pub fn limit(&self) -> Limit {
        Limit {
            quota: u64::try_from(self.rate_limit).unwrap_or(0),
            window_seconds: u64::try_from(self.rate_window_seconds).unwrap_or(1),
        }
    }
}

#[derive(Debug, Insertable)]
#[diesel(table_name = api_keys)]
pub struct NewApiKey {
    pub tenant_id: TenantId,
    pub user_id: Option<UserId>,
    pub name: String,
    pub description: Option<String>,
    pub environment: Environment,
    pub public_id: String,
    pub key_prefix: String,
    pub hint: String,
    pub hash_algorithm: HashAlgorithm,
    pub pepper_id: String,
    pub digest: String,
    pub scopes: Vec<String>,
    pub rate_limit: i64,
    pub rate_window_seconds: i64,
    pub allowed_ips: Vec<String>,
    pub owner: Option<String>,
    pub requires_owner: bool,
    pub metadata: Value,
    pub tags: Vec<String>,
    pub is_active: bool,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// A lineage of its own where absent.
    pub lineage_id: Option<LineageId>,
}

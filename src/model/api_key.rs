//! Rows of `api_keys`: API keys with the digests of their secrets.

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

/// An API key. Its secret exists only as a digest.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = api_keys)]
pub struct ApiKey {
    /// Number of the row.
    pub id: ApiKeyId,
    /// Tenant that the key belongs to.
    pub tenant_id: TenantId,
    /// User that the key belongs to, if any.
    pub user_id: Option<UserId>,
    /// Name that users gave it.
    pub name: String,
    /// Notes of users.
    pub description: Option<String>,
    /// Environment: live or test.
    pub environment: Environment,
    /// Public id, such as `pk_` and 22 characters, by which a presented key is found.
    pub public_id: String,
    /// Start of the secret, such as `sk_3kTq`.
    pub key_prefix: String,
    /// Part of the secret that may be shown, such as `sk_3kTq…9xZ2`.
    pub hint: String,
    /// Algorithm of the digest.
    pub hash_algorithm: HashAlgorithm,
    /// Id of the pepper that the digest was made with.
    pub pepper_id: String,
    /// Digest of the secret: hex for HMAC-SHA-256, a PHC string for argon2id.
    pub digest: String,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// Calls that the first limit allows in its window.
    pub rate_limit: i64,
    /// Window of the first limit in seconds.
    pub rate_window_seconds: i64,
    /// Addresses and networks that may use the key; empty for any.
    pub allowed_ips: Vec<String>,
    /// Owner among the tenant's own customers.
    pub owner: Option<String>,
    /// True if the key is refused while its user is inactive or no member.
    pub requires_owner: bool,
    /// Metadata of users, as a JSON object.
    pub metadata: Value,
    /// Tags of users.
    pub tags: Vec<String>,
    /// False if the key is disabled.
    pub is_active: bool,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Last use (UTC).
    #[diesel(select_expression = sql(USED_AT), select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub last_used_at: Option<DateTime<Utc>>,
    /// IP address of the last use.
    #[diesel(select_expression = sql(USED_IP), select_expression_type = SqlLiteral<Nullable<Text>>)]
    pub last_used_ip: Option<String>,
    /// Time of revocation (UTC).
    pub revoked_at: Option<DateTime<Utc>>,
    /// Reason of the revocation, for users.
    pub revoked_reason: Option<String>,
    /// Time of deletion (UTC); the key can be restored for 30 days.
    pub deleted_at: Option<DateTime<Utc>>,
    /// Counter that every change increases.
    pub version: i64,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
    /// First key of the chain of rotations that this key belongs to. All keys of the chain share a limit.
    pub lineage_id: LineageId,
    /// Place of the key in its lineage.
    #[diesel(embed)]
    pub rotation: Rotation,
}

// The last use changes with each call, so it stands in a row of its own.
const USED_AT: &str =
    "(SELECT nullif(uses.used_at, 'epoch') FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id)";
const USED_IP: &str = "(SELECT uses.used_ip FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id)";

const SHARED: &str = "(SELECT jsonb_build_object('limits', more.limits, 'quota', more.quota, 'refill', more.refill) \
     FROM key_limits AS more WHERE more.lineage_id = api_keys.lineage_id)";

/// Place of a key in its lineage. Most of it is read from the neighbouring rows.
#[derive(Debug, Clone, Default, Queryable, Selectable)]
#[diesel(table_name = api_keys)]
pub struct Rotation {
    /// Key that this one replaced.
    #[diesel(select_expression = sql(BEFORE), select_expression_type = SqlLiteral<Nullable<BigInt>>)]
    pub rotated_from: Option<ApiKeyId>,
    /// Key that replaced this one.
    #[diesel(select_expression = sql(AFTER), select_expression_type = SqlLiteral<Nullable<BigInt>>)]
    pub rotated_to: Option<ApiKeyId>,
    /// Time of the replacement (UTC).
    #[diesel(select_expression = sql(REPLACED), select_expression_type = SqlLiteral<Nullable<Timestamptz>>)]
    pub replaced_at: Option<DateTime<Utc>>,
    /// End of the overlap (UTC), until which a replaced key is valid beside its successor.
    pub rotates_out_at: Option<DateTime<Utc>>,
    /// Row of `key_limits` that the lineage shares: quota, and limits beside the first one.
    #[diesel(select_expression = sql(SHARED), select_expression_type = SqlLiteral<Nullable<Jsonb>>)]
    shared: Option<Value>,
}

// Ids rise within a lineage, so each subquery is one lookup in `api_keys_by_lineage`.
const BEFORE: &str = "(SELECT max(kin.id) FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id < api_keys.id)";
const AFTER: &str = "(SELECT min(kin.id) FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id > api_keys.id)";
const REPLACED: &str = "(SELECT kin.created_at FROM api_keys AS kin WHERE kin.tenant_id = api_keys.tenant_id \
     AND kin.lineage_id = api_keys.lineage_id AND kin.id > api_keys.id ORDER BY kin.id LIMIT 1)";

impl ApiKey {
    /// Returns the state of the key. If several apply, the final one wins.
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

    /// True if the key was replaced and its overlap is over.
    pub fn is_rotated_out(&self, now: DateTime<Utc>) -> bool {
        self.rotation.rotates_out_at.is_some_and(|at| at <= now)
    }

    /// Returns when the key stops by itself: at its expiry or the end of its overlap, whichever comes first.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        self.expires_at.into_iter().chain(self.rotation.rotates_out_at).min()
    }

    /// Returns the digest with what is needed to verify it.
    pub fn stored_digest(&self) -> StoredDigest {
        StoredDigest { algorithm: self.hash_algorithm, pepper_id: self.pepper_id.clone(), digest: self.digest.clone() }
    }

    /// Returns the quota of the lineage, if it has one.
    pub fn quota(&self) -> Option<Quota> {
        let row = self.rotation.shared.as_ref()?;
        let refill = row.get("refill").and_then(Value::as_str).and_then(|refill| refill.parse().ok());
        Some(Quota { quota: row.get("quota")?.as_i64()?, refill })
    }

    /// Returns the limits beside the first one.
    pub fn named_limits(&self) -> Vec<NamedLimit> {
        self.rotation.shared.as_ref().and_then(|row| row.get("limits")).map(named::of_row).unwrap_or_default()
    }

    /// Returns the first limit.
    pub fn limit(&self) -> Limit {
        Limit {
            quota: u64::try_from(self.rate_limit).unwrap_or(0),
            window_seconds: u64::try_from(self.rate_window_seconds).unwrap_or(1),
        }
    }
}

/// An API key to insert. Fields mean the same as in [`ApiKey`].
#[derive(Debug, Insertable)]
#[diesel(table_name = api_keys)]
pub struct NewApiKey {
    /// Tenant that the key belongs to.
    pub tenant_id: TenantId,
    /// User that the key belongs to.
    pub user_id: Option<UserId>,
    /// Name that users gave it.
    pub name: String,
    /// Notes of users.
    pub description: Option<String>,
    /// Environment: live or test.
    pub environment: Environment,
    /// Public id, by which a presented key is found.
    pub public_id: String,
    /// Start of the secret.
    pub key_prefix: String,
    /// Part of the secret that may be shown.
    pub hint: String,
    /// Algorithm of the digest.
    pub hash_algorithm: HashAlgorithm,
    /// Id of the pepper that the digest was made with.
    pub pepper_id: String,
    /// Digest of the secret.
    pub digest: String,
    /// Scopes of the key.
    pub scopes: Vec<String>,
    /// Calls that the first limit allows in its window.
    pub rate_limit: i64,
    /// Window of the first limit in seconds.
    pub rate_window_seconds: i64,
    /// Addresses and networks that may use the key; empty for any.
    pub allowed_ips: Vec<String>,
    /// Owner among the tenant's own customers.
    pub owner: Option<String>,
    /// True if the key is refused while its user is inactive or no member.
    pub requires_owner: bool,
    /// Metadata of users, as a JSON object.
    pub metadata: Value,
    /// Tags of users.
    pub tags: Vec<String>,
    /// False if the key starts disabled.
    pub is_active: bool,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
    /// Lineage that a rotated key continues; `None` starts a new one.
    pub lineage_id: Option<LineageId>,
}

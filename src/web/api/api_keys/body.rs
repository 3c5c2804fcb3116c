//! API representation of a key.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::domain::api_key::{Environment, KeyState};
use crate::domain::limit::named::NamedLimit;
use crate::domain::quota::{Quota, Refill};
use crate::domain::{ApiKeyId, TenantId, UserId};
use crate::model::ApiKey;

/// Quota as it is sent and shown.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaBody {
    /// Number of calls, weighted by their cost.
    limit: i64,
    /// When the quota is refilled. Absent: never.
    refill: Option<Refill>,
}

impl From<QuotaBody> for Quota {
    fn from(body: QuotaBody) -> Self {
        Self { quota: body.limit, refill: body.refill }
    }
}

impl From<Quota> for QuotaBody {
    fn from(quota: Quota) -> Self {
        Self { limit: quota.quota, refill: quota.refill }
    }
}

/// API representation of a key. Only the response to its creation contains the secret.
#[derive(Debug)]
pub struct KeyBody<'a> {
    key: Cow<'a, ApiKey>,
    secret: Option<String>,
    now: DateTime<Utc>,
}

impl<'a> KeyBody<'a> {
    pub fn new(key: ApiKey, now: DateTime<Utc>) -> Self {
        Self { key: Cow::Owned(key), secret: None, now }
    }

    /// Represents a borrowed key.
    pub fn of(key: &'a ApiKey, now: DateTime<Utc>) -> Self {
        Self { key: Cow::Borrowed(key), secret: None, now }
    }

    /// Represents a new key with its secret. Only the response to the creation uses it.
    pub fn revealed(key: ApiKey, secret: Option<String>, now: DateTime<Utc>) -> Self {
        Self { secret, ..Self::new(key, now) }
    }
}

impl Serialize for KeyBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::of(&self.key, self.secret.as_deref(), self.now).serialize(serializer)
    }
}

/// Fields of [`KeyBody`] as JSON.
#[derive(Serialize)]
struct Fields<'a> {
    /// Id of the key.
    id: ApiKeyId,
    /// Id of the key's tenant.
    tenant_id: TenantId,
    /// Id of the user who created the key.
    user_id: Option<UserId>,
    /// Name of the key.
    name: &'a str,
    /// Note about the key.
    description: Option<&'a str>,
    /// Environment of the key: `live` or `test`.
    environment: Environment,
    /// Public id of the key, `pk_…`.
    key: &'a str,
    /// Secret, only in the response to the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    /// Second name of `secret`, for clients of another service.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    /// Text before the secret.
    key_prefix: &'a str,
    /// Shortened secret by which people recognize the key.
    hint: &'a str,
    /// Scopes of the key.
    scopes: &'a [String],
    /// Number of calls allowed per window.
    rate_limit: i64,
    /// Length of the rate limit's window in seconds.
    rate_window_seconds: i64,
    /// Further rate limits besides the first.
    limits: Vec<NamedLimit>,
    /// Number of calls that the key may use up.
    quota: Option<QuotaBody>,
    /// Addresses and networks that may use the key. Empty: all.
    allowed_ips: &'a [String],
    /// Owner of the key, in the client's own words.
    owner: Option<&'a str>,
    /// True: the key is refused once its user is gone or inactive.
    requires_owner: bool,
    /// JSON object of the client's own data.
    metadata: &'a Value,
    /// Tags to group keys.
    tags: &'a [String],
    /// State that results from the fields below.
    state: KeyState,
    /// False: the key is deactivated.
    is_active: bool,
    /// When the key expires (UTC).
    expires_at: Option<DateTime<Utc>>,
    /// Time of the last recorded call (UTC).
    last_used_at: Option<DateTime<Utc>>,
    /// When the key was revoked (UTC).
    revoked_at: Option<DateTime<Utc>>,
    /// Why the key was revoked.
    revoked_reason: Option<&'a str>,
    /// Id of the key that this key replaced.
    rotated_from: Option<ApiKeyId>,
    /// Id of the key that replaced this one.
    rotated_to: Option<ApiKeyId>,
    /// End of the time in which a replaced key still works beside its successor (UTC).
    rotates_out_at: Option<DateTime<Utc>>,
    /// When the key was deleted (UTC). It can be restored for 30 days.
    deleted_at: Option<DateTime<Utc>>,
    /// When the key was created (UTC).
    created_at: DateTime<Utc>,
    /// When the key was last changed (UTC).
    updated_at: DateTime<Utc>,
}

impl<'a> Fields<'a> {
    fn of(key: &'a ApiKey, secret: Option<&'a str>, now: DateTime<Utc>) -> Self {
        Self {
            limits: key.named_limits(),
            quota: key.quota().map(QuotaBody::from),
            state: key.state(now),
            id: key.id,
            tenant_id: key.tenant_id,
            user_id: key.user_id,
            name: &key.name,
            description: key.description.as_deref(),
            environment: key.environment,
            key: &key.public_id,
            secret,
            api_key: secret,
            key_prefix: &key.key_prefix,
            hint: &key.hint,
            scopes: &key.scopes,
            rate_limit: key.rate_limit,
            rate_window_seconds: key.rate_window_seconds,
            allowed_ips: &key.allowed_ips,
            owner: key.owner.as_deref(),
            requires_owner: key.requires_owner,
            metadata: &key.metadata,
            tags: &key.tags,
            is_active: key.is_active,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            revoked_reason: key.revoked_reason.as_deref(),
            rotated_from: key.rotation.rotated_from,
            rotated_to: key.rotation.rotated_to,
            rotates_out_at: key.rotation.rotates_out_at,
            deleted_at: key.deleted_at,
            created_at: key.created_at,
            updated_at: key.updated_at,
        }
    }
}

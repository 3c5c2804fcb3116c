//! A key as the API shows it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::domain::api_key::{Environment, KeyState};
use crate::domain::limit::named::NamedLimit;
use crate::domain::quota::{Quota, Refill};
use crate::domain::{ApiKeyId, TenantId, UserId};
use crate::model::ApiKey;

/// A quota as it is set.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaBody {
    limit: i64,
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

/// The secret stands in the answer to its creation alone.
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

    /// The same, of a key that stays where it is.
    pub fn of(key: &'a ApiKey, now: DateTime<Utc>) -> Self {
        Self { key: Cow::Borrowed(key), secret: None, now }
    }

    /// With the secret, for the one answer that shows it.
    pub fn revealed(key: ApiKey, secret: Option<String>, now: DateTime<Utc>) -> Self {
        Self { secret, ..Self::new(key, now) }
    }
}

impl Serialize for KeyBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Fields::of(&self.key, self.secret.as_deref(), self.now).serialize(serializer)
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    id: ApiKeyId,
    tenant_id: TenantId,
    user_id: Option<UserId>,
    name: &'a str,
    description: Option<&'a str>,
    environment: Environment,
    key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    key_prefix: &'a str,
    hint: &'a str,
    scopes: &'a [String],
    rate_limit: i64,
    rate_window_seconds: i64,
    /// Beside the first one.
    limits: Vec<NamedLimit>,
    quota: Option<QuotaBody>,
    allowed_ips: &'a [String],
    owner: Option<&'a str>,
    requires_owner: bool,
    metadata: &'a Value,
    tags: &'a [String],
    state: KeyState,
    is_active: bool,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_reason: Option<&'a str>,
    rotated_from: Option<ApiKeyId>,
    rotated_to: Option<ApiKeyId>,
    /// Until when it is let in beside its successor.
    rotates_out_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
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

//! Rows of `usage_logs`: key-authenticated requests and verifications.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{ApiKeyId, TenantId};

// No primary key, since an index would slow each write: `diesel print-schema` leaves such a table out.
diesel::table! {
    usage_logs (id) {
        id -> Int8,
        tenant_id -> Int8,
        api_key_id -> Nullable<Int8>,
        request_id -> Text,
        endpoint -> Text,
        method -> Text,
        status -> Int2,
        outcome -> Text,
        reason -> Nullable<Text>,
        duration_us -> Int8,
        cost -> Int8,
        ip -> Nullable<Text>,
        created_at -> Timestamptz,
        is_reported -> Bool,
    }
}

/// A logged request or verification.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = usage_logs)]
pub struct UsageLog {
    /// Number of the row.
    pub id: i64,
    /// Tenant of the key.
    pub tenant_id: TenantId,
    /// Key that was verified; `None` if no key of the tenant was presented.
    pub api_key_id: Option<ApiKeyId>,
    /// Id of the request.
    pub request_id: String,
    /// Endpoint that the caller named, or path of the request.
    pub endpoint: String,
    /// HTTP method.
    pub method: String,
    /// HTTP status of the answer.
    pub status: i16,
    /// Outcome of the verification.
    pub outcome: Outcome,
    /// Reason of a refusal, in a sentence.
    pub reason: Option<String>,
    /// Microseconds that it took.
    pub duration_us: i64,
    /// Units that it took from the limit; 0 if refused.
    pub cost: i64,
    /// IP address of the caller.
    pub ip: Option<String>,
    /// Time of the request (UTC).
    pub created_at: DateTime<Utc>,
    /// True if an application reported it, with an id of its own choice.
    pub is_reported: bool,
}

/// A record to insert. Fields mean the same as in [`UsageLog`].
#[derive(Debug, Insertable)]
#[diesel(table_name = usage_logs, treat_none_as_default_value = false)]
pub struct NewUsageLog<'a> {
    /// Tenant of the key.
    pub tenant_id: TenantId,
    /// Key that was verified; `None` if no key of the tenant was presented.
    pub api_key_id: Option<ApiKeyId>,
    /// Id of the request.
    pub request_id: &'a str,
    /// Endpoint that the caller named, or path of the request.
    pub endpoint: &'a str,
    /// HTTP method.
    pub method: &'a str,
    /// HTTP status of the answer.
    pub status: i16,
    /// Outcome of the verification.
    pub outcome: Outcome,
    /// Reason of a refusal, in a sentence.
    pub reason: Option<&'a str>,
    /// Microseconds that it took.
    pub duration_us: i64,
    /// Units that it took from the limit; 0 if refused.
    pub cost: i64,
    /// IP address of the caller.
    pub ip: Option<String>,
    /// Time of the request (UTC).
    pub created_at: DateTime<Utc>,
    /// True if an application reported it.
    pub is_reported: bool,
}

impl<'a> From<&'a UsageRecord> for NewUsageLog<'a> {
    fn from(record: &'a UsageRecord) -> Self {
        Self {
            tenant_id: record.tenant,
            api_key_id: record.api_key,
            request_id: &record.request_id,
            endpoint: &record.endpoint,
            method: &record.method,
            status: record.status,
            outcome: record.outcome,
            reason: record.reason.as_deref(),
            duration_us: record.duration_us,
            cost: record.cost,
            ip: record.ip.map(|ip| ip.to_string()),
            created_at: record.at,
            is_reported: record.is_reported,
        }
    }
}

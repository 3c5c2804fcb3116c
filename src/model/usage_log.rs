//! A row of `usage_logs`: one key-authenticated request or verification.

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

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = usage_logs)]
pub struct UsageLog {
    pub id: i64,
    pub tenant_id: TenantId,
    pub api_key_id: Option<ApiKeyId>,
    pub request_id: String,
    pub endpoint: String,
    pub method: String,
    pub status: i16,
    pub outcome: Outcome,
    pub reason: Option<String>,
    pub duration_us: i64,
    pub cost: i64,
    pub ip: Option<String>,
    pub created_at: DateTime<Utc>,
    pub is_reported: bool,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = usage_logs, treat_none_as_default_value = false)]
pub struct NewUsageLog<'a> {
    pub tenant_id: TenantId,
    pub api_key_id: Option<ApiKeyId>,
    pub request_id: &'a str,
    pub endpoint: &'a str,
    pub method: &'a str,
    pub status: i16,
    pub outcome: Outcome,
    pub reason: Option<&'a str>,
    pub duration_us: i64,
    pub cost: i64,
    pub ip: Option<String>,
    pub created_at: DateTime<Utc>,
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

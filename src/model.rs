//! Rows: one type per table.

pub mod access_token;
pub mod api_key;
pub mod audit_entry;
pub mod membership;
pub mod session;
pub mod tenant;
pub mod usage_log;
pub mod user;

pub use access_token::{AccessToken, NewAccessToken};
pub use api_key::{ApiKey, NewApiKey};
pub use audit_entry::{AuditEntry, NewAuditEntry};
pub use membership::Membership;
pub use session::Session;
pub use tenant::Tenant;
pub use usage_log::UsageLog;
pub use user::User;

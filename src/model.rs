//! Rows: one type per table.

pub mod audit_entry;
pub mod membership;
pub mod session;
pub mod tenant;
pub mod user;

pub use audit_entry::{AuditEntry, NewAuditEntry};
pub use membership::Membership;
pub use session::Session;
pub use tenant::Tenant;
pub use user::User;

//! All SQL of the product: one file per table, and the one door to the database.

pub mod access_tokens;
pub mod api_keys;
pub mod audit_entries;
pub mod db;
pub mod error;
pub mod memberships;
pub mod notify;
pub mod one_time_links;
pub mod sessions;
pub mod tenants;
pub mod usage;
pub mod users;

pub use db::{Db, Scope};

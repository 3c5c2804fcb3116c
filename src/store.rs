//! All SQL of the product: one file per table, and the one door to the database.

pub mod access_tokens;
pub mod api_keys;
pub mod attempts;
pub mod audit_entries;
pub mod claims;
pub mod db;
pub mod deliveries;
pub mod delivery_totals;
pub mod embedded;
pub mod error;
pub mod event_months;
pub mod events;
pub mod figures;
pub mod idempotency_keys;
pub mod instance_facts;
pub mod invitations;
mod kept;
pub mod key_limits;
pub mod memberships;
pub mod migrations;
pub mod notify;
pub mod one_time_links;
pub mod outbox;
pub mod partitions;
pub mod plans;
pub mod samples;
pub mod sealed;
pub mod second_factors;
pub mod sessions;
pub mod signing_secrets;
pub mod tenants;
pub mod usage;
pub mod usage_logs;
pub mod users;
pub mod webhooks;

pub use db::{Db, Scope};

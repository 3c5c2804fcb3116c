//! Gatepost: API keys in, webhooks out. One binary, one Postgres.

pub mod domain;
pub mod schema;
pub mod store;

//! All SQL of the product: one file per table, and the one door to the database.

pub mod audit_entries;
pub mod db;
pub mod error;

pub use db::{Db, Scope};

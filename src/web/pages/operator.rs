//! The pages of those who run the instance.

pub mod tenants;
pub mod users;

//! The pages of those who run the instance.

pub mod plans;
pub mod tenants;
pub mod users;

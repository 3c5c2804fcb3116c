//! Pages for operators of the instance.

pub mod plans;
pub mod tenants;
pub mod users;

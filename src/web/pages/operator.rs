//! The pages of those who run the instance.

pub mod users;

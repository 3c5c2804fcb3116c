//! The rules of the product: plain functions over a connection and an actor.

pub mod audit;

use std::net::IpAddr;

use crate::domain::{UserId, Via};

/// Somebody who runs the instance, acting on it rather than in a tenant.
#[derive(Debug, Clone)]
pub struct Operator {
    pub user: Option<UserId>,
    pub via: Via,
    pub label: String,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
}

impl Operator {
    /// Whoever sits at the machine's console.
    pub fn at_the_console() -> Self {
        Self { user: None, via: Via::Cli, label: "console".to_owned(), ip: None, request_id: None }
    }
}

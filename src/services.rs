//! Business rules: plain functions that take a connection and an actor.

pub mod access_tokens;
pub mod account;
pub mod accounts;
pub mod api_keys;
pub mod audit;
pub mod deliveries;
pub mod delivery_signal;
pub mod dispatch;
pub mod events;
pub mod figures;
pub mod idempotency;
pub mod instance;
pub mod invitations;
mod links;
pub mod mail;
pub mod members;
pub mod outbox;
pub mod plans;
pub mod readiness;
pub mod second_factor;
pub mod secrets;
pub mod sessions;
pub mod tenants;
pub mod usage;
pub mod webhooks;

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::{Actor, Error, Result, UserId, Via};

/// Identity that acts on the instance itself rather than in a tenant.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Signed-in operator. `None` for the console and for Gatepost itself.
    pub user: Option<UserId>,
    /// Interface of the act: page, API, console or system.
    pub via: Via,
    /// Name shown in the audit log, usually an e-mail address.
    pub label: String,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
}

impl Operator {
    /// Identity of the person at the machine's console.
    pub fn at_the_console() -> Self {
        Self { user: None, via: Via::Cli, label: "console".to_owned(), ip: None, request_id: None }
    }

    /// Identity of Gatepost itself.
    pub fn system() -> Self {
        Self { user: None, via: Via::System, label: "system".to_owned(), ip: None, request_id: None }
    }

    /// Refuses acts of operators on their own account. A stolen session or token must not weaken the sign-in that made
    /// it.
    pub(crate) fn must_be_another(&self, user: UserId) -> Result<()> {
        if self.user != Some(user) {
            return Ok(());
        }
        Err(Error::conflict("another operator must do this: operators cannot do this to their own account"))
    }

    /// Converts a tenant's actor for acts on the tenant itself.
    pub fn of(actor: &Actor) -> Self {
        Self {
            user: actor.user,
            via: actor.via,
            label: actor.label.clone(),
            ip: actor.ip,
            request_id: actor.request_id.clone(),
        }
    }
}

/// Returns 32 random bytes as base64url text, used for links, sessions and form tokens.
pub fn random_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::bug(error.to_string()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

//! Model layer: database rows, one type per table.

pub mod access_token;
pub mod api_key;
pub mod attempt;
pub mod audit_entry;
pub mod claimed;
pub mod delivery;
pub mod event;
pub mod invitation;
pub mod mail;
pub mod membership;
pub mod plan;
pub mod second_factor;
pub mod session;
pub mod signing_secret;
pub mod tenant;
pub mod usage_log;
pub mod user;
pub mod webhook;

pub use access_token::{AccessToken, NewAccessToken};
pub use api_key::{ApiKey, NewApiKey, Rotation};
pub use attempt::Attempt;
pub use audit_entry::{AuditChain, AuditEntry, NewAuditEntry};
pub use claimed::Claimed;
pub use delivery::Delivery;
pub use event::Event;
pub use invitation::{Invitation, NewInvitation};
pub use mail::Mail;
pub use membership::Membership;
pub use plan::Plan;
pub use second_factor::SecondFactor;
pub use session::Session;
pub use signing_secret::{PublicKey, SealedSecret};
pub use tenant::Tenant;
pub use usage_log::UsageLog;
pub use user::User;
pub use webhook::{Webhook, WebhookSettings};

//! Domain layer: values, ids, errors and pure policy. No I/O, and no clock read outside `clock`.

pub mod access_token;
pub mod actor;
pub mod address;
pub mod api_key;
pub mod argon;
pub mod audit;
pub mod checksum;
pub mod clock;
pub mod delivery;
pub mod digest;
pub mod email;
pub mod error;
pub mod ids;
pub mod limit;
pub mod mail;
pub mod page;
pub mod password;
pub mod quota;
pub mod retry;
pub mod scope;
pub mod signature;
pub mod signing_key;
pub mod tenant;
pub mod text;
pub mod time;
pub mod token;
pub mod totp;
pub mod usage;
pub mod vault;
pub mod verification;
pub mod webhook;

pub use actor::{Actor, Permission, Role, Via};
pub use clock::Clock;
pub use error::{Error, FieldErrors, Noun, Rejection, Result};
pub use ids::{
    AccessTokenId, ApiKeyId, AttemptId, AuditEntryId, DeliveryId, EventId, InvitationId, LineageId, MembershipId,
    TenantId, UserId, WebhookId,
};

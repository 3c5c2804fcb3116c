//! Rows of `invitations`: people who were invited to join a tenant.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::mail::MailState;
use crate::domain::{InvitationId, Role, TenantId, UserId};
use crate::schema::invitations;

/// An invitation to join a tenant.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = invitations)]
pub struct Invitation {
    /// Number of the row.
    pub id: InvitationId,
    /// Tenant to join.
    pub tenant_id: TenantId,
    /// E-mail address that the account of the accepting person gets.
    pub email: String,
    /// Role in the tenant.
    pub role: Role,
    /// User who sent it; `None` for the console.
    pub invited_by: Option<UserId>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Expiry of the link (UTC).
    pub expires_at: DateTime<Utc>,
    /// Time of acceptance (UTC).
    pub accepted_at: Option<DateTime<Utc>>,
    /// Time of revocation (UTC).
    pub revoked_at: Option<DateTime<Utc>>,
    /// True if use of the link proves that the address belongs to the person. That is so if the link was only mailed
    /// and never shown, or if an operator hands it over.
    pub proves_email: bool,
    /// State of the mail; `None` if the link was not mailed.
    pub mail_state: Option<MailState>,
    /// Reason why the last attempt to mail it failed.
    pub mail_error: Option<String>,
}

/// An invitation to insert. Fields mean the same as in [`Invitation`].
#[derive(Debug, Insertable)]
#[diesel(table_name = invitations)]
pub struct NewInvitation<'a> {
    /// Tenant to join.
    pub tenant_id: TenantId,
    /// E-mail address that the account of the accepting person gets.
    pub email: &'a str,
    /// Role in the tenant.
    pub role: Role,
    /// SHA-256 of the link's token.
    pub digest: &'a [u8],
    /// User who sent it; `None` for the console.
    pub invited_by: Option<UserId>,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Expiry of the link (UTC).
    pub expires_at: DateTime<Utc>,
    /// True if use of the link proves that the address belongs to the person.
    pub proves_email: bool,
    /// State of the mail; `None` if the link is not mailed.
    pub mail_state: Option<MailState>,
}

//! A row of `invitations`: somebody was asked to join a tenant.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::mail::MailState;
use crate::domain::{InvitationId, Role, TenantId, UserId};
use crate::schema::invitations;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = invitations)]
pub struct Invitation {
    pub id: InvitationId,
    pub tenant_id: TenantId,
    /// Whoever accepts it has this address.
    pub email: String,
    pub role: Role,
    /// None: at the console.
    pub invited_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub accepted_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    /// Whether who comes by its link has shown that the address is theirs: it was mailed and shown to nobody, or an operator
    /// hands it over.
    pub proves_email: bool,
    /// `None` if its link was not mailed.
    pub mail_state: Option<MailState>,
    /// Why the last attempt to mail it failed.
    pub mail_error: Option<String>,
}

#[derive(Debug, Insertable)]
#[diesel(table_name = invitations)]
pub struct NewInvitation<'a> {
    pub tenant_id: TenantId,
    pub email: &'a str,
    pub role: Role,
    pub digest: &'a [u8],
    pub invited_by: Option<UserId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub proves_email: bool,
    pub mail_state: Option<MailState>,
}

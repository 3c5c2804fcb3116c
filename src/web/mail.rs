//! Mail to people: invitations and password resets.

use askama::Template;
use chrono::{DateTime, Utc};
use url::Url;

use super::state::State;
use super::urls;
use crate::domain::mail::MailMessage;
use crate::domain::vault::Vault;
use crate::domain::{Error, Result, TenantId};
use crate::model::{Invitation as Invited, User};
use crate::services::invitations::CreatedInvitation;
use crate::services::mail;
use crate::services::tenants::{self, TenantRef};
use crate::store::Tx;

/// Mail with an invitation link.
#[derive(Template)]
#[template(path = "mail/invitation.txt")]
pub struct Invitation<'a> {
    pub email: &'a str,
    pub inviter: &'a str,
    pub tenant: &'a str,
    /// Role with its article, such as `an admin`.
    pub role: &'a str,
    /// Link to accept the invitation.
    pub link: &'a str,
    /// When the link expires, as text in UTC.
    pub expires: String,
}

impl Invitation<'_> {
    pub fn letter(&self) -> Result<MailMessage> {
        let text = self.render().map_err(Error::bug)?;
        Ok(MailMessage { to: self.email.to_owned(), subject: format!("Join {} on Gatepost", self.tenant), text })
    }
}

/// Mail with a password reset link.
#[derive(Template)]
#[template(path = "mail/reset.txt")]
pub struct Reset<'a> {
    pub name: &'a str,
    pub link: &'a str,
}

impl Reset<'_> {
    pub fn letter(&self, to: &str) -> Result<MailMessage> {
        let text = self.render().map_err(Error::bug)?;
        Ok(MailMessage { to: to.to_owned(), subject: "Set a new password on Gatepost".to_owned(), text })
    }
}

/// Formats a time for use in mail.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// Adds mail to the queue. Does nothing if no mail server is configured.
#[derive(Clone)]
pub struct MailQueue(Option<std::sync::Arc<Vault>>);

impl MailQueue {
    /// Returns the queue, which is closed without a mail server.
    pub fn of(state: &State) -> Self {
        Self(state.settings.smtp.is_some().then(|| state.vault.clone()))
    }

    /// True if a mail server is configured.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Mails an invitation link to the invited person. Without a mail server, returns the token to show instead; a
    /// mailed link is never shown. The tenant's name is read in the same transaction.
    pub fn invite(
        &self,
        tx: &mut Tx<'_>,
        public_url: &Url,
        inviter: &str,
        CreatedInvitation { invitation, token }: CreatedInvitation,
    ) -> Result<(Invited, Option<String>)> {
        if !self.is_open() {
            return Ok((invitation, Some(token)));
        }
        let tenant = tenants::find(tx, &TenantRef::Id(invitation.tenant_id))?;
        let link = public_url.join(&urls::invitation_with(&token)).map_err(Error::bug)?;
        let letter = || {
            let role = invitation.role;
            let article = if role.as_str().starts_with(['a', 'o']) { "an" } else { "a" };
            let letter = Invitation {
                email: &invitation.email,
                inviter,
                tenant: &tenant.name,
                role: &format!("{article} {role}"),
                link: link.as_str(),
                expires: moment(invitation.expires_at),
            };
            letter.letter()
        };
        self.queue(tx, Some(invitation.tenant_id), (letter, &token))?;
        Ok((invitation, None))
    }

    /// Mails a password reset link to its user. Without a mail server, returns the token to show instead.
    pub fn reset(&self, tx: &mut Tx<'_>, public_url: &Url, user: &User, token: String) -> Result<Option<String>> {
        if !self.is_open() {
            return Ok(Some(token));
        }
        let link = public_url.join(&urls::reset_with(&token)).map_err(Error::bug)?;
        let letter = || Reset { name: &user.name, link: link.as_str() }.letter(&user.email);
        self.queue(tx, None, (letter, &token))?;
        Ok(None)
    }

    /// Queues a mail in the transaction of the change it reports, so that both commit or neither does.
    fn queue(
        &self,
        tx: &mut Tx<'_>,
        tenant: Option<TenantId>,
        (letter, token): (impl FnOnce() -> Result<MailMessage>, &str),
    ) -> Result<()> {
        match &self.0 {
            Some(vault) => mail::queue(tx, vault, tenant, (&letter()?, token)),
            None => Ok(()),
        }
    }
}

//! The letters that are sent to people.

use askama::Template;
use chrono::{DateTime, Utc};
use url::Url;

use super::state::State;
use super::urls;
use crate::domain::mail::Letter;
use crate::domain::vault::Vault;
use crate::domain::{Error, Result, TenantId};
use crate::model::{Invitation as Invited, User};
use crate::services::invitations::Made;
use crate::services::mail;
use crate::services::tenants::{self, TenantRef};
use crate::store::Tx;

#[derive(Template)]
#[template(path = "mail/invitation.txt")]
pub struct Invitation<'a> {
    pub email: &'a str,
    pub inviter: &'a str,
    pub tenant: &'a str,
    /// `an admin`
    pub role: &'a str,
    pub link: &'a str,
    pub expires: String,
}

impl Invitation<'_> {
    pub fn letter(&self) -> Result<Letter> {
        let text = self.render().map_err(Error::bug)?;
        Ok(Letter { to: self.email.to_owned(), subject: format!("Join {} on Gatepost", self.tenant), text })
    }
}

#[derive(Template)]
#[template(path = "mail/reset.txt")]
pub struct Reset<'a> {
    pub name: &'a str,
    pub link: &'a str,
}

impl Reset<'_> {
    pub fn letter(&self, to: &str) -> Result<Letter> {
        let text = self.render().map_err(Error::bug)?;
        Ok(Letter { to: to.to_owned(), subject: "Set a new password on Gatepost".to_owned(), text })
    }
}

/// As letters say when a link ends.
pub fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M UTC").to_string()
}

/// What puts letters into their queue, where a mail server is named.
#[derive(Clone)]
pub struct Post(Option<std::sync::Arc<Vault>>);

impl Post {
    pub fn of(state: &State) -> Self {
        Self(state.settings.smtp.is_some().then(|| state.vault.clone()))
    }

    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Mails the link of an invitation to its guest. Returns the token to show where no mail is sent: a mailed link is
    /// never shown. The tenant is named as the transaction sees it.
    pub fn invite(
        &self,
        tx: &mut Tx<'_>,
        public_url: &Url,
        inviter: &str,
        Made { invitation, token }: Made,
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

    /// Mails the link of a password reset to its user. Returns the token to show where no mail is sent.
    pub fn reset(&self, tx: &mut Tx<'_>, public_url: &Url, user: &User, token: String) -> Result<Option<String>> {
        if !self.is_open() {
            return Ok(Some(token));
        }
        let link = public_url.join(&urls::reset_with(&token)).map_err(Error::bug)?;
        let letter = || Reset { name: &user.name, link: link.as_str() }.letter(&user.email);
        self.queue(tx, None, (letter, &token))?;
        Ok(None)
    }

    /// In the transaction of what the letter tells of.
    fn queue(
        &self,
        tx: &mut Tx<'_>,
        tenant: Option<TenantId>,
        (letter, token): (impl FnOnce() -> Result<Letter>, &str),
    ) -> Result<()> {
        match &self.0 {
            Some(vault) => mail::queue(tx, vault, tenant, (&letter()?, token)),
            None => Ok(()),
        }
    }
}

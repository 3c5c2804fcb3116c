//! Outgoing mail: queued in the transaction of its cause, sealed until it is sent, retried on failure.

use chrono::TimeDelta;
use diesel::pg::PgConnection;

use super::audit::{self, AuditedAct};
use super::{Operator, links};
use crate::domain::mail::{MailMessage, MailState};
use crate::domain::vault::Vault;
use crate::domain::{Result, TenantId};
use crate::model::Mail;
use crate::store::{self, Tx};

/// Waits before each retry. The last attempt is well within a day, the shortest lifetime of a link in a mail.
const GAPS: [TimeDelta; 6] = [
    TimeDelta::minutes(1),
    TimeDelta::minutes(5),
    TimeDelta::minutes(15),
    TimeDelta::hours(1),
    TimeDelta::hours(3),
    TimeDelta::hours(6),
];
/// Lease of a mail, longer than sending can take. Afterwards another worker may send it.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// Characters kept of a mail server's error response.
const LONGEST_ERROR: usize = 300;

/// Tenant id used to seal mail that belongs to no tenant.
const NOBODYS: TenantId = TenantId(0);

/// Queues a mail with the link of this token. It is sent after this transaction.
pub fn queue(
    tx: &mut Tx<'_>,
    vault: &Vault,
    tenant: Option<TenantId>,
    (letter, token): (&MailMessage, &str),
) -> Result<()> {
    let now = tx.now;
    let id = store::mails::next_id(tx)?;
    let sealed = vault.seal(tenant.unwrap_or(NOBODYS), &row_of(id), letter.content().as_bytes())?;
    store::mails::insert(tx, id, tenant, &letter.to, (&sealed, Some(&links::digest(token))), now)
}

/// Returns the name that the vault binds a mail's content to.
pub(super) fn row_of(id: i64) -> String {
    format!("mail:{id}")
}

/// Leases mails that are due, and drops those whose link was used or has ended. Runs in `Scope::Instance`.
pub fn claim(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Mail>> {
    let now = tx.now;
    let mut due = Vec::new();
    for mail in store::mails::claim(tx, limit, now + LEASE, now)? {
        match &mail.link_digest {
            Some(digest) if !links::is_usable(tx, digest)? => store::mails::delete(tx, mail.id)?,
            _ => due.push(mail),
        }
    }
    Ok(due)
}

pub fn opened(vault: &Vault, mail: &Mail) -> Result<MailMessage> {
    let content = vault.open(mail.tenant_id.unwrap_or(NOBODYS), &row_of(mail.id), &mail.sealed)?;
    Ok(MailMessage::of_content(mail.recipient.clone(), &String::from_utf8_lossy(&content)))
}

/// Records that a mail was sent, and deletes its content.
pub fn sent(conn: &mut PgConnection, mail: &Mail) -> Result<()> {
    note(conn, mail, MailState::Sent, None)?;
    store::mails::delete(conn, mail.id)
}

/// Schedules a retry, or gives up and returns false. `says` is the error; a hopeless one is not retried.
pub fn failed(tx: &mut Tx<'_>, mail: &Mail, (says, is_hopeless): (&str, bool)) -> Result<bool> {
    let now = tx.now;
    // The text comes from a foreign mail server: reduce it to one line of bounded length.
    let line = says.split(|c: char| c.is_whitespace() || c.is_control()).collect::<Vec<_>>().join(" ");
    let error: String = line.chars().take(LONGEST_ERROR).collect();
    let made = usize::try_from(mail.attempts).unwrap_or(usize::MAX);
    if let Some(gap) = GAPS.get(made.saturating_sub(1)).filter(|_| !is_hopeless) {
        note(tx, mail, MailState::Waiting, Some(&error))?;
        return store::mails::postpone(tx, mail.id, now + *gap).map(|()| true);
    }
    note(tx, mail, MailState::Failed, Some(&error))?;
    let deed = AuditedAct::new("mail.failed", format!("mail:{}", mail.id)).with("name", mail.recipient.as_str());
    audit::record_for_instance(tx, &Operator::system(), mail.tenant_id, deed.with("error", error))?;
    store::mails::delete(tx, mail.id).map(|()| false)
}

/// Records the state of a mail on the invitation whose link it holds, if any.
fn note(conn: &mut PgConnection, mail: &Mail, state: MailState, error: Option<&str>) -> Result<()> {
    match &mail.link_digest {
        Some(digest) => store::invitations::update_mail(conn, digest, state, error),
        None => Ok(()),
    }
}

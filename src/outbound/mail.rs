//! Outgoing mail through the configured mail server.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use uuid::Uuid;

use crate::config::Smtp;
use crate::domain::mail::MailMessage;
use crate::domain::{Error, Result, email};

/// Timeout of each step of the SMTP session.
const STEP: Duration = Duration::from_secs(20);
/// Timeout of the whole SMTP session.
const DEADLINE: Duration = Duration::from_secs(60);

/// SMTP client.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Reason why a mail was not sent. The text holds none of its content.
#[derive(Debug)]
pub struct Unsent {
    pub says: String,
    /// True if a retry would fail in the same way.
    pub is_hopeless: bool,
}

impl Mailer {
    /// Builds the client. Fails if the system's TLS certificates cannot be read.
    pub fn new(smtp: &Smtp) -> Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp.url());
        let transport = transport.map_err(|_| Error::bug("the address of the mail server does not fit"))?;
        Ok(Self { transport: transport.timeout(Some(STEP)).build(), from: smtp.from.clone() })
    }

    pub async fn send(&self, letter: &MailMessage) -> std::result::Result<(), Unsent> {
        let message = self.message(letter).map_err(|says| Unsent { says, is_hopeless: true })?;
        match tokio::time::timeout(DEADLINE, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Unsent { is_hopeless: error.is_permanent(), says: error.to_string() }),
            Err(_) => Err(Unsent { says: "the mail server took too long".to_owned(), is_hopeless: false }),
        }
    }

    fn message(&self, letter: &MailMessage) -> std::result::Result<Message, String> {
        let to = email::address(&letter.to).map_err(|rejection| format!("the address {}", rejection.detail))?;
        let id = format!("<{}@{}>", Uuid::new_v4(), self.from.email.domain());
        let message =
            Message::builder().from(self.from.clone()).to(to.into()).subject(&letter.subject).message_id(Some(id));
        let message = message.header(ContentType::TEXT_PLAIN).body(letter.text.clone());
        message.map_err(|error| error.to_string())
    }
}

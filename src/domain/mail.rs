//! Mail to people, as plain text.

crate::text_enum! {
    /// State of a mail.
    pub enum MailState {
        Waiting = "waiting",
        Sent = "sent",
        /// The server no longer tries to send it.
        Failed = "failed",
    }
}

/// One mail to one address.
#[derive(Clone, PartialEq, Eq)]
pub struct MailMessage {
    /// E-mail address of the recipient.
    pub to: String,
    /// Subject, one line.
    pub subject: String,
    /// Text, which may hold a link that signs its reader in.
    pub text: String,
}

/// Prints the recipient only: subject and text may be secret.
impl std::fmt::Debug for MailMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter(to {})", self.to)
    }
}

impl MailMessage {
    /// Returns subject and text in the form that is sealed, with the subject on the first line.
    pub fn content(&self) -> String {
        format!("{}\n{}", self.subject.replace(['\r', '\n'], " "), self.text)
    }

    /// Reads the form that [`MailMessage::content`] writes.
    pub fn of_content(to: String, content: &str) -> Self {
        let (subject, text) = content.split_once('\n').unwrap_or((content, ""));
        Self { to, subject: subject.to_owned(), text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_can_be_read_from_its_content_and_debug_hides_its_text() {
        let letter = MailMessage { to: "ada@example.com".into(), subject: "Come in".into(), text: "a\nb\n".into() };
        assert_eq!(MailMessage::of_content("ada@example.com".into(), &letter.content()), letter);
        assert_eq!(format!("{letter:?}"), "Letter(to ada@example.com)");
        let split = MailMessage { subject: "a\r\nBcc: x".into(), ..letter };
        assert_eq!(MailMessage::of_content(String::new(), &split.content()).subject, "a  Bcc: x");
    }
}

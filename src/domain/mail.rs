//! Letters to people, as plain text.

crate::text_enum! {
    /// State of a letter.
    pub enum MailState {
        Waiting = "waiting",
        Sent = "sent",
        /// The server no longer tries to send it.
        Failed = "failed",
    }
}

/// One letter, to one address.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    pub to: String,
    pub subject: String,
    /// It may hold a link that lets somebody in.
    pub text: String,
}

/// Neither subject nor text is printed.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter(to {})", self.to)
    }
}

impl Letter {
    /// Subject and text as they are sealed: a subject is one line.
    pub fn content(&self) -> String {
        format!("{}\n{}", self.subject.replace(['\r', '\n'], " "), self.text)
    }

    /// From what [`Letter::content`] made.
    pub fn of_content(to: String, content: &str) -> Self {
        let (subject, text) = content.split_once('\n').unwrap_or((content, ""));
        Self { to, subject: subject.to_owned(), text: text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_survives_being_sealed_and_shows_nothing_when_printed() {
        let letter = Letter { to: "ada@example.com".into(), subject: "Come in".into(), text: "a\nb\n".into() };
        assert_eq!(Letter::of_content("ada@example.com".into(), &letter.content()), letter);
        assert_eq!(format!("{letter:?}"), "Letter(to ada@example.com)");
        let split = Letter { subject: "a\r\nBcc: x".into(), ..letter };
        assert_eq!(Letter::of_content(String::new(), &split.content()).subject, "a  Bcc: x");
    }
}

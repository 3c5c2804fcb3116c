//! One sentence that survives a redirect: what was just done.

use actix_session::Session;
use serde::{Deserialize, Serialize};

/// The session's entry for it.
pub const KEY: &str = "flash";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    Good,
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    pub tone: Tone,
    pub text: String,
}

impl Flash {
    pub fn good(text: impl Into<String>) -> Self {
        Self { tone: Tone::Good, text: text.into() }
    }

    pub fn bad(text: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, text: text.into() }
    }

    pub fn is_bad(&self) -> bool {
        self.tone == Tone::Bad
    }
}

/// Keeps a sentence for the next page. Never a secret.
pub fn set(session: &Session, flash: &Flash) {
    // A session that cannot take a sentence is no reason to fail the act that it tells of.
    if let Err(error) = session.insert(KEY, flash) {
        tracing::debug!(cause = %error, "a flash was lost");
    }
}

/// The sentence for this page, which is then forgotten.
pub fn take(session: &Session) -> Option<Flash> {
    // Removing counts as a change of the session, and so costs a write, even where there is nothing to remove.
    if !session.contains_key(KEY) {
        return None;
    }
    session.remove_as(KEY)?.ok()
}

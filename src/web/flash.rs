//! Flash message: one sentence that survives a redirect and says what was done.

use actix_session::Session;
use serde::{Deserialize, Serialize};

/// Session entry: the flash message.
pub const KEY: &str = "flash";

/// Style of a flash message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    Good,
    Bad,
}

/// Message for the next page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    pub tone: Tone,
    pub text: String,
}

impl Flash {
    /// Returns a message about a success.
    pub fn good(text: impl Into<String>) -> Self {
        Self { tone: Tone::Good, text: text.into() }
    }

    /// Returns a message about a failure.
    pub fn bad(text: impl Into<String>) -> Self {
        Self { tone: Tone::Bad, text: text.into() }
    }

    pub fn is_bad(&self) -> bool {
        self.tone == Tone::Bad
    }
}

/// Stores a message for the next page. Must not contain a secret.
pub fn set(session: &Session, flash: &Flash) {
    // Only log the error: the change itself succeeded and must not fail for its message.
    if let Err(error) = session.insert(KEY, flash) {
        tracing::debug!(cause = %error, "a flash was lost");
    }
}

/// Returns the message for this page and removes it from the session.
pub fn take(session: &Session) -> Option<Flash> {
    // `remove` marks the session as changed, and so costs a write, even if the entry is absent.
    if !session.contains_key(KEY) {
        return None;
    }
    session.remove_as(KEY)?.ok()
}

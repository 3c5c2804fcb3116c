//! Badge of a state: icon, word and color, so that none of the three carries the meaning alone.

use askama::Template;

/// Meaning of a state for the reader. The style sheet assigns the colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Good,
    Warn,
    Bad,
    Info,
    Idle,
}

impl Tone {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Info => "info",
            Self::Idle => "idle",
        }
    }
}

/// Badge of a state.
#[derive(Debug, Clone, Template)]
#[template(path = "components/badge.html")]
pub struct Badge {
    pub tone: &'static str,
    /// Symbol in `templates/components/_icons.html`.
    pub icon: &'static str,
    pub word: String,
}

impl askama::filters::HtmlSafe for Badge {}

impl Badge {
    pub fn new(tone: Tone, icon: &'static str, word: impl Into<String>) -> Self {
        Self { tone: tone.as_str(), icon, word: word.into() }
    }

    /// Returns the badge for a state of the API, of keys, webhooks, deliveries, tenants or tokens.
    pub fn state(word: &str) -> Self {
        let (tone, icon) = match word {
            "active" | "delivered" | "succeeded" => (Tone::Good, "check"),
            "pending" => (Tone::Info, "clock"),
            "retrying" | "rotating" => (Tone::Warn, "retry"),
            "failing" | "expired" => (Tone::Warn, "alert"),
            "paused" => (Tone::Idle, "pause"),
            "suspended" => (Tone::Warn, "pause"),
            "failed" | "revoked" | "deleted" => (Tone::Bad, "cross"),
            "disabled" => (Tone::Bad, "stop"),
            _ => (Tone::Idle, "minus"),
        };
        Self::new(tone, icon, super::text::capitalized(word))
    }

    /// Returns the badge for an environment, `live` or `test`.
    pub fn environment(word: &str) -> Self {
        match word {
            "test" => Self::new(Tone::Warn, "flask", "Test"),
            _ => Self::new(Tone::Idle, "bolt", "Live"),
        }
    }

    /// Returns the badge for an HTTP status, or for a missing response.
    pub fn response(status: Option<i16>) -> Self {
        match status {
            Some(code @ 200..=299) => Self::new(Tone::Good, "check", code.to_string()),
            Some(code) => Self::new(Tone::Bad, "cross", code.to_string()),
            None => Self::new(Tone::Bad, "cross", "No response"),
        }
    }
}

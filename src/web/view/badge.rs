//! A state as icon, word and color, so that none of the three has to carry it alone.

use askama::Template;

/// How a state feels to the reader; the style sheet gives each its colors.
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

#[derive(Debug, Clone, Template)]
#[template(path = "components/badge.html")]
pub struct Badge {
    pub tone: &'static str,
    /// A symbol of `templates/components/_icons.html`.
    pub icon: &'static str,
    pub word: String,
}

impl askama::filters::HtmlSafe for Badge {}

impl Badge {
    pub fn new(tone: Tone, icon: &'static str, word: impl Into<String>) -> Self {
        Self { tone: tone.as_str(), icon, word: word.into() }
    }

    /// The states of keys, webhooks, deliveries and tokens, by the words of the API.
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

    /// `live` or `test`.
    pub fn environment(word: &str) -> Self {
        match word {
            "test" => Self::new(Tone::Warn, "flask", "Test"),
            _ => Self::new(Tone::Idle, "bolt", "Live"),
        }
    }

    /// The status line of a response, or that there was none.
    pub fn response(status: Option<i16>) -> Self {
        match status {
            Some(code @ 200..=299) => Self::new(Tone::Good, "check", code.to_string()),
            Some(code) => Self::new(Tone::Bad, "cross", code.to_string()),
            None => Self::new(Tone::Bad, "cross", "No answer"),
        }
    }
}

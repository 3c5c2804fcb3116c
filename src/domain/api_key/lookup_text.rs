//! Recognition of text that identifies a key: a secret, an id, or a hint.

use std::fmt;

use zeroize::Zeroizing;

use super::super::ApiKeyId;
use super::super::token;
use super::{has_secret_form, is_public_id, parse_secret, public_id};

/// A pasted text by its kind. A secret in it can't be printed.
#[derive(Clone, PartialEq, Eq)]
pub enum LookupText {
    /// No text.
    Empty,
    /// A whole secret with a valid checksum.
    Secret {
        /// Public id of its key.
        public_id: String,
        /// The secret itself.
        text: Zeroizing<String>,
    },
    /// A text with the form of a secret whose checksum is wrong.
    Mistyped,
    /// A secret of another kind; the text completes "This is …".
    Foreign(&'static str),
    /// A public id: `pk_` and 22 characters.
    PublicId(String),
    /// The number of a key.
    Id(ApiKeyId),
    /// A hint `sk_3kTq…9xZ2`, or its start `sk_3kTq`.
    Hint(String),
    /// Any other text.
    Unreadable,
}

impl LookupText {
    /// Recognizes a text.
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Empty;
        }
        if let Some(kind) = foreign(text) {
            return Self::Foreign(kind);
        }
        if is_public_id(text) {
            return Self::PublicId(text.to_owned());
        }
        if let Ok(id) = text.parse::<ApiKeyId>() {
            return Self::Id(id);
        }
        if let Ok(presented) = parse_secret(text) {
            let text = Zeroizing::new(presented.secret().to_owned());
            return Self::Secret { public_id: public_id(presented.id()), text };
        }
        if has_secret_form(text) {
            return Self::Mistyped;
        }
        hint(text).map_or(Self::Unreadable, Self::Hint)
    }
}

impl fmt::Debug for LookupText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Clue(empty)",
            Self::Secret { .. } => "Clue(secret)",
            Self::Mistyped => "Clue(mistyped)",
            Self::Foreign(_) => "Clue(foreign)",
            Self::PublicId(_) => "Clue(public id)",
            Self::Id(_) => "Clue(id)",
            Self::Hint(_) => "Clue(hint)",
            Self::Unreadable => "Clue(unreadable)",
        })
    }
}

/// Returns the kind of a secret that is no API key.
fn foreign(text: &str) -> Option<&'static str> {
    let is_token = text.starts_with("gpat_") && token::has_form(text);
    let is_signing = ["whsec_", "whsk_"].iter().any(|prefix| text.starts_with(prefix));
    match (is_token, is_signing, text.starts_with("whpk_")) {
        (true, ..) => Some("an access token"),
        (_, true, _) => Some("a webhook's signing secret"),
        (_, _, true) => Some("a webhook's public key"),
        _ => None,
    }
}

/// Returns a hint in its stored form. It may be written with three dots, or be only the start of the secret.
fn hint(text: &str) -> Option<String> {
    let text = text.replace("...", "…");
    let (beginning, end) = text.split_once('…').unwrap_or((&text, ""));
    let (stem, first) = beginning.rsplit_once('_')?;
    let is_base62 = |text: &str| text.len() == 4 && text.bytes().all(|c| c.is_ascii_alphanumeric());
    let is_stem = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
    let fits = (1..=21).contains(&stem.len()) && stem.bytes().all(is_stem) && is_base62(first);
    let ends = if text.contains('…') { is_base62(end) } else { true };
    (fits && ends).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access_token::TokenSecret;
    use crate::domain::api_key::{Environment, KeyPrefix, KeySecret};

    #[test]
    fn each_kind_of_text_is_recognized() {
        let secret = KeySecret::generate(&KeyPrefix::parse("sk").unwrap(), Environment::Test).unwrap();
        let (id, hint, beginning) = (secret.public_id(), secret.hint(), secret.key_prefix());
        let text = secret.reveal_once();
        assert!(
            matches!(LookupText::read(&format!(" {text}\n")), LookupText::Secret { public_id, .. } if public_id == id)
        );
        let last = if text.ends_with('0') { '1' } else { '0' };
        assert_eq!(LookupText::read(&format!("{}{last}", &text[..text.len() - 1])), LookupText::Mistyped);
        assert_eq!(LookupText::read(&id), LookupText::PublicId(id.clone()));
        assert_eq!(LookupText::read("7"), LookupText::Id(ApiKeyId(7)));
        assert_eq!(LookupText::read(&hint), LookupText::Hint(hint.clone()));
        assert_eq!(LookupText::read(&hint.replace('…', "...")), LookupText::Hint(hint.clone()));
        assert_eq!(LookupText::read(&beginning), LookupText::Hint(beginning.clone()));
        assert_eq!(LookupText::read("  "), LookupText::Empty);
        let token = TokenSecret::generate().unwrap().reveal_once();
        assert_eq!(LookupText::read(&token), LookupText::Foreign("an access token"));
        assert_eq!(
            LookupText::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            LookupText::Foreign("a webhook's signing secret")
        );
        for junk in ["hello", "pk_short", "sk_", "sk_3kTq…", "sk_3kTq…9x", "Sk_3kTq…9xZ2", &"x".repeat(5_000)] {
            assert_eq!(LookupText::read(junk), LookupText::Unreadable, "{junk}");
        }
        assert!(!format!("{:?}", LookupText::read(&text)).contains(&text[20..40]));
    }
}

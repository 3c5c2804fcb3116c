//! API keys as values: prefix, environment, state, and the secret that is shown once.

mod ask;
mod life;
mod lookup_text;
mod order;

use std::fmt;
use std::str::FromStr;

pub use ask::{KeyChange, KeyDraft, KeyPatch, NewKey};
pub use life::{Overlap, RESTORABLE_FOR, Selection, TagChange, prefix_of};
pub use lookup_text::LookupText;
pub use order::{KeyMark, KeySort, SortValue};

use super::error::{Rejection, Result};
use super::token::{self, Malformed, Presented, Token};

crate::text_enum! {
    /// Environment of a key. It is read from the row, never from the secret's text.
    pub enum Environment {
        Live = "live",
        Test = "test",
    }
}

crate::text_enum! {
    /// State of a key. If several apply, the final one wins: see `ApiKey::state`.
    pub enum KeyState {
        Active = "active",
        Disabled = "disabled",
        Expired = "expired",
        Revoked = "revoked",
        Rotating = "rotating",
        Deleted = "deleted",
    }
}

/// Prefix of a key's secret: 1 to 16 of `[a-z0-9_]`, no leading, trailing or double `_`, and no reserved word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// Parses a prefix.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        Self::check(text)?;
        Ok(Self(text.to_owned()))
    }

    fn check(text: &str) -> Result<(), Rejection> {
        let is_ours = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        let fits = (1..=16).contains(&text.len())
            && text.bytes().all(is_ours)
            && !text.starts_with('_')
            && !text.ends_with('_')
            && !text.contains("__");
        if !fits {
            return Err(Rejection::new("prefix", "must be 1 to 16 of a-z, 0-9 and single _ inside"));
        }
        let is_reserved = ["test", "pk", "gpat", "whsec", "whsk", "whpk"].contains(&text) || text.ends_with("_test");
        if is_reserved {
            return Err(Rejection::new("reserved", "is reserved: choose another prefix"));
        }
        Ok(())
    }

    /// Returns the text of the prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyPrefix {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        Self::parse(text)
    }
}

/// Secret of a key. It can't be cloned, printed or serialized; only [`KeySecret::reveal_once`] returns it.
pub struct KeySecret(Token);

impl KeySecret {
    /// Generates a random secret.
    ///
    /// # Errors
    /// Fails if the operating system has no randomness to give.
    pub fn generate(prefix: &KeyPrefix, environment: Environment) -> Result<Self> {
        match environment {
            Environment::Live => Token::generate(prefix.as_str()),
            Environment::Test => Token::generate(&format!("{}_test", prefix.as_str())),
        }
        .map(Self)
    }

    /// Returns the public id: `pk_` and 22 characters.
    pub fn public_id(&self) -> String {
        public_id(self.0.id())
    }

    /// Returns the part that may be shown: `sk_3kTq…9xZ2`.
    pub fn hint(&self) -> String {
        self.0.hint()
    }

    /// Returns the start of the secret: `sk_3kTq`.
    pub fn key_prefix(&self) -> String {
        self.0.beginning().to_owned()
    }

    /// Returns the whole secret, for digesting only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns the whole secret for the one response that shows it.
    pub fn reveal_once(self) -> String {
        self.0.reveal_once()
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecret({})", self.hint())
    }
}

/// Parses a presented key secret and checks its checksum. Access tokens have the same form and are refused.
pub fn parse_secret(text: &str) -> Result<Presented<'_>, Malformed> {
    let presented = Presented::parse(text)?;
    let stem = presented.stem().strip_suffix("_test").unwrap_or(presented.stem());
    KeyPrefix::check(stem).map(|()| presented).map_err(|_| Malformed)
}

/// True if the text has the form of a key secret, whatever its checksum.
pub fn has_secret_form(text: &str) -> bool {
    token::has_form(text) && !text.starts_with("gpat_")
}

/// True if the text is a public key id: `pk_` and 22 characters that hold 128 bits.
pub fn is_public_id(text: &str) -> bool {
    text.strip_prefix("pk_").is_some_and(token::is_id)
}

/// Returns the public id for the 22 characters in a secret.
pub fn public_id(id: &str) -> String {
    ["pk_", id].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_grammar_holds() {
        for good in ["sk", "fp", "a", "acme_live", "x1_2_3", "sixteen_chars_ok"] {
            assert!(KeyPrefix::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "_a",
            "a_",
            "a__b",
            "Sk",
            "a-b",
            "seventeen_chars_x",
            "test",
            "a_test",
            "pk",
            "gpat",
            "whsec",
            "whsk",
            "whpk",
        ] {
            assert!(KeyPrefix::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_names_its_key() {
        let secret = KeySecret::generate(&KeyPrefix::parse("fp").unwrap(), Environment::Test).unwrap();
        assert!(secret.expose().starts_with("fp_test_"));
        assert_eq!(secret.expose().len(), "fp_test_".len() + 71);
        let presented = parse_secret(secret.expose()).unwrap();
        assert_eq!(public_id(presented.id()), secret.public_id());
        assert!(is_public_id(&secret.public_id()) && !is_public_id("pk_short"));
        assert!(secret.hint().starts_with(&secret.key_prefix()));
    }

    #[test]
    fn an_access_token_is_no_key() {
        let token = Token::generate("gpat").unwrap();
        assert!(parse_secret(token.expose()).is_err() && !has_secret_form(token.expose()));
    }
}

//! Credential presented as an API key: its id and secret, or why it has none.

use std::fmt;

use zeroize::Zeroizing;

use crate::domain::api_key;
use crate::domain::usage::Outcome;

/// Presented API key. Its parts come from outside and are not verified.
#[derive(Clone)]
pub enum Credential {
    Pair {
        public_id: String,
        secret: Zeroizing<String>,
    },
    Malformed,
    /// Public id and secret of different keys.
    Mismatched,
}

impl Credential {
    /// Parses a secret alone.
    pub fn secret(text: &str) -> Self {
        match api_key::parse_secret(text) {
            Ok(presented) => Self::Pair {
                public_id: api_key::public_id(presented.id()),
                secret: Zeroizing::new(presented.secret().to_owned()),
            },
            Err(_) => Self::Malformed,
        }
    }

    /// Parses a public id and a secret.
    pub fn pair(id: &str, secret: &str) -> Self {
        match Self::secret(secret) {
            Self::Pair { public_id, .. } if public_id != id => Self::Mismatched,
            parsed => parsed,
        }
    }

    /// Parses the two fields of a verification: a secret alone, or an id and a secret. An id without a secret is
    /// malformed.
    pub fn of_fields(key: &str, secret: Option<&str>) -> Self {
        let (key, secret) = (key.trim(), secret.map(str::trim).filter(|secret| !secret.is_empty()));
        match secret {
            Some(secret) if key != secret => Self::pair(key, secret),
            _ => Self::secret(key),
        }
    }

    /// Returns the outcome for a credential that cannot be looked up.
    pub fn refusal(&self) -> Outcome {
        match self {
            Self::Malformed => Outcome::Malformed,
            Self::Pair { .. } | Self::Mismatched => Outcome::NotFound,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair { public_id, .. } => write!(f, "Credential({public_id})"),
            Self::Malformed => f.write_str("Credential(malformed)"),
            Self::Mismatched => f.write_str("Credential(mismatched)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::{Environment, KeyPrefix, KeySecret};

    #[test]
    fn id_and_secret_must_belong_together() {
        let secret = KeySecret::generate(&KeyPrefix::parse("sk").unwrap(), Environment::Live).unwrap();
        let id = secret.public_id();
        let text = secret.reveal_once();
        assert!(matches!(Credential::pair(&id, &text), Credential::Pair { public_id, .. } if public_id == id));
        assert!(matches!(Credential::pair("pk_0000000000000000000000", &text), Credential::Mismatched));
        assert!(matches!(Credential::pair(&id, "sk_made_up"), Credential::Malformed));
        assert!(!format!("{:?}", Credential::secret(&text)).contains(&text));
    }
}

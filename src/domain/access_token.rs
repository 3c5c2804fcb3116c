//! Access tokens: bearer credentials of people for the management API.

use std::fmt;

use chrono::{DateTime, Utc};

use super::error::{FieldErrors, Rejection, Result};
use super::scope::{self, ScopeSet};
use super::token::{Malformed, Presented, Token};
use super::{AccessTokenId, TenantId, text};

const STEM: &str = "gpat";

/// What a token may be allowed; `*` is everything.
pub const SCOPES: [&str; 14] = [
    "*",
    "keys:read",
    "keys:write",
    "keys:verify",
    "webhooks:read",
    "webhooks:write",
    "events:read",
    "events:write",
    "usage:read",
    "usage:write",
    "tenants:*",
    "members:*",
    "audit:read",
    "tokens:*",
];

/// A token in full, which exists only until it is revealed once.
pub struct TokenSecret(Token);

impl TokenSecret {
    pub fn generate() -> Result<Self> {
        Token::generate(STEM).map(Self)
    }

    /// The 22 characters that find its row.
    pub fn public_id(&self) -> String {
        self.0.id().to_owned()
    }

    pub fn hint(&self) -> String {
        self.0.hint()
    }

    /// For digesting only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    pub fn reveal_once(self) -> String {
        self.0.reveal_once()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecret({})", self.hint())
    }
}

/// A presented access token whose checksum holds.
pub fn parse(text: &str) -> Result<Presented<'_>, Malformed> {
    Presented::parse(text).ok().filter(|presented| presented.stem() == STEM).ok_or(Malformed)
}

/// Whether the text is meant to be an access token, right or wrong.
pub fn has_form(text: &str) -> bool {
    text.starts_with("gpat_")
}

/// What somebody asks of a new token, as it was written.
#[derive(Debug, Clone, Default)]
pub struct TokenDraft {
    pub name: Option<String>,
    /// None: for the whole instance, which only operators may ask.
    pub tenant: Option<TenantId>,
    /// None: everything that its user may do.
    pub scopes: Option<Vec<String>>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// A checked request for a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub tenant: Option<TenantId>,
    pub scopes: ScopeSet,
    pub expires_at: Option<DateTime<Utc>>,
    /// The token that asks; none where a person does, on a page or at the console.
    pub minted_by: Option<AccessTokenId>,
}

impl NewToken {
    pub fn parse(draft: TokenDraft, now: DateTime<Utc>) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let name = errors.take("name", draft.name.as_deref().map_or_else(|| Err(Rejection::required()), text::name));
        let asked = draft.scopes.unwrap_or_else(|| vec!["*".to_owned()]);
        if asked.is_empty() {
            errors.add("scopes", Rejection::new("required", "must name at least one scope"));
        }
        let scopes = errors.take_each("scopes", &asked, known_scope);
        if draft.expires_at.is_some_and(|at| at <= now) {
            errors.add("expires_at", Rejection::new("past", "must lie in the future"));
        }
        match name {
            Some(name) if errors.is_empty() => {
                let (tenant, expires_at, minted_by) = (draft.tenant, draft.expires_at, None);
                Ok(Self { name, tenant, scopes: ScopeSet::new(scopes), expires_at, minted_by })
            }
            _ => Err(errors.into()),
        }
    }
}

/// One of [`SCOPES`], or a narrower one under one of its wildcards.
fn known_scope(text: &str) -> Result<String, Rejection> {
    let text = scope::parse(text)?;
    let is_under = |known: &str| known.strip_suffix('*').is_some_and(|stem| !stem.is_empty() && text.starts_with(stem));
    let is_group = || {
        text.strip_suffix('*')
            .is_some_and(|stem| stem.ends_with(':') && SCOPES.iter().any(|known| known.starts_with(stem)))
    };
    if SCOPES.contains(&text.as_str()) || SCOPES.iter().any(|known| is_under(known)) || is_group() {
        Ok(text)
    } else {
        Err(Rejection::new("scope", format!("is not a scope of access tokens: {}", SCOPES.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_id_and_is_no_api_key() {
        let secret = TokenSecret::generate().unwrap();
        assert_eq!(parse(secret.expose()).unwrap().id(), secret.public_id());
        assert!(secret.expose().starts_with("gpat_") && secret.expose().len() == 5 + 71);
        let other = Token::generate("sk").unwrap();
        assert!(parse(other.expose()).is_err() && parse("gpat_x").is_err() && has_form("gpat_x"));
    }

    #[test]
    fn only_scopes_of_the_api_can_be_asked() {
        assert!(
            ["*", "keys:read", "keys:*", "members:write", "tokens:read"].iter().all(|text| known_scope(text).is_ok())
        );
        assert!(["orders:read", "keys", "keys:fly", "**", ""].iter().all(|text| known_scope(text).is_err()));
    }
}

//! Access tokens: bearer credentials of users for the management API.

use std::fmt;

use chrono::{DateTime, Utc};

use super::error::{FieldErrors, Rejection, Result};
use super::scope::{self, ScopeSet};
use super::token::{Malformed, Presented, Token};
use super::{AccessTokenId, TenantId, text};

/// Prefix of every access token.
const STEM: &str = "gpat";

/// Scopes that a token can have; `*` allows everything.
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
    /// Generates a random token.
    pub fn generate() -> Result<Self> {
        Token::generate(STEM).map(Self)
    }

    /// Returns the 22 characters by which the token's row is found.
    pub fn public_id(&self) -> String {
        self.0.id().to_owned()
    }

    /// Returns the part that may be shown: `gpat_3kTq…9xZ2`.
    pub fn hint(&self) -> String {
        self.0.hint()
    }

    /// Returns the whole token, for digesting only.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Returns the whole token for the one response that shows it.
    pub fn reveal_once(self) -> String {
        self.0.reveal_once()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSecret({})", self.hint())
    }
}

/// Parses a presented access token and checks its checksum.
pub fn parse(text: &str) -> Result<Presented<'_>, Malformed> {
    Presented::parse(text).ok().filter(|presented| presented.stem() == STEM).ok_or(Malformed)
}

/// True if the text is meant to be an access token, valid or not.
pub fn has_form(text: &str) -> bool {
    text.starts_with("gpat_")
}

/// Request for a new token, as it was written.
#[derive(Debug, Clone, Default)]
pub struct TokenDraft {
    /// Name of the token.
    pub name: Option<String>,
    /// Tenant of the token; `None` for the whole instance, which only operators may request.
    pub tenant: Option<TenantId>,
    /// Scopes of the token; `None` for everything that its user may do.
    pub scopes: Option<Vec<String>>,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Checked request for a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Name of the token.
    pub name: String,
    /// Tenant of the token; `None` for the whole instance.
    pub tenant: Option<TenantId>,
    /// Scopes of the token.
    pub scopes: ScopeSet,
    /// Expiry (UTC); `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// Token that made the request; `None` for a page or the console.
    pub minted_by: Option<AccessTokenId>,
}

impl NewToken {
    /// Checks a request and reports every field that does not fit.
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

/// Parses a scope: one of [`SCOPES`], or one that a wildcard among them covers.
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
    fn only_scopes_of_the_api_are_accepted() {
        assert!(
            ["*", "keys:read", "keys:*", "members:write", "tokens:read"].iter().all(|text| known_scope(text).is_ok())
        );
        assert!(["orders:read", "keys", "keys:fly", "**", ""].iter().all(|text| known_scope(text).is_err()));
    }
}

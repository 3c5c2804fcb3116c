//! Scopes: names for what a key or token is allowed to do.

use std::sync::Arc;

use super::error::Rejection;

/// Checks one scope: `^[A-Za-z0-9_.:*/-]{1,64}$`.
pub fn parse(text: &str) -> Result<String, Rejection> {
    let fits =
        (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:*/-".contains(c));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(Rejection::new("scope", "must be 1 to 64 of letters, digits and _ . : * / -"))
    }
}

/// Returns the scope itself and the wildcards that allow it.
pub fn allowing(scope: &str) -> Vec<String> {
    let stems = scope.match_indices(':').map(|(at, _)| format!("{}:*", scope.get(..at).unwrap_or_default()));
    let mut all = vec![scope.to_owned(), "*".to_owned()];
    all.extend(stems);
    all.dedup();
    all
}

/// Scopes of a key or token, cheap to clone. `*` allows everything, `orders:*` everything that starts with `orders:`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeSet(Arc<[String]>);

impl ScopeSet {
    /// Creates a set.
    pub fn new(scopes: Vec<String>) -> Self {
        Self(scopes.into())
    }

    /// Returns the set that allows everything.
    pub fn all() -> Self {
        Self(Arc::new(["*".to_owned()]))
    }

    /// True if the set holds no scope.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the scopes.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// True if a scope of the set allows `wanted`, directly or as a wildcard.
    pub fn allows(&self, wanted: &str) -> bool {
        self.0.iter().any(|held| match held.strip_suffix('*') {
            Some("") => true,
            Some(stem) if stem.ends_with(':') => wanted.starts_with(stem),
            _ => held == wanted,
        })
    }

    /// Returns the scopes of `wanted` that the set does not allow, in their order.
    pub fn missing(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().filter(|scope| !self.allows(scope)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_from_allowing_allows_the_scope() {
        for scope in ["orders", "orders:read", "a:b:c", "orders:*", "*"] {
            for held in allowing(scope) {
                assert!(ScopeSet::new(vec![held.clone()]).allows(scope), "{held} {scope}");
            }
        }
        assert_eq!(allowing("a:b:c"), ["a:b:c", "*", "a:*", "a:b:*"]);
    }

    #[test]
    fn a_scope_is_held_exactly_or_by_a_wildcard_at_a_colon() {
        let held = ScopeSet::new(vec!["orders:*".into(), "stock:read".into(), "odd*".into()]);
        assert!(held.allows("orders:read") && held.allows("stock:read"));
        assert!(!held.allows("orders") && !held.allows("stock:write") && !held.allows("oddity"));
        assert!(ScopeSet::all().allows("anything") && !ScopeSet::default().allows("anything"));
        assert_eq!(held.missing(&["stock:write".into(), "orders:x".into()]), ["stock:write"]);
    }
}

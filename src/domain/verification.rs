//! Checks of verification requests, common to the API, the command line and gateways.

use super::error::{FieldErrors, Rejection, Result};
use super::scope;

/// Maximum number of units that one verification may take from a limit.
pub const MOST_COST: u64 = 1_000_000;
/// Maximum number of scopes of one verification.
const MOST_SCOPES: usize = 100;
/// Longest HTTP method in bytes.
const LONGEST_METHOD: usize = 20;

/// Checks the cost of a verification.
pub fn cost(number: u64) -> Result<u64, Rejection> {
    if (1..=MOST_COST).contains(&number) {
        Ok(number)
    } else {
        Err(Rejection::new("range", format!("must be from 1 to {MOST_COST}")))
    }
}

/// Checks the scopes that a key must have. Refused ones are recorded as `field[index]`.
pub fn scopes(errors: &mut FieldErrors, field: &str, items: &[String]) -> Vec<String> {
    if MOST_SCOPES < items.len() {
        errors.add(field, Rejection::new("too_many", format!("must be at most {MOST_SCOPES}")));
        return Vec::new();
    }
    errors.take_each(field, items, scope::parse)
}

/// Checks an HTTP method: a token (RFC 9110, section 5.6.2) of at most 20 characters. Returns it in capitals.
pub fn method(text: &str) -> Result<String, Rejection> {
    let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let fits = (1..=LONGEST_METHOD).contains(&text.len()) && text.bytes().all(is_token);
    if fits {
        Ok(text.to_ascii_uppercase())
    } else {
        Err(Rejection::new("method", format!("must be a method of HTTP, at most {LONGEST_METHOD} characters")))
    }
}

/// Splits a URI without its host into path and query (without `?`). A fragment is dropped.
pub fn split_uri(uri: &str) -> (&str, &str) {
    let uri = uri.split('#').next().unwrap_or_default();
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let Some((scheme, rest)) = path.split_once("://") else { return (path, query) };
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https" | "ws" | "wss") {
        return (path, query);
    }
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    (path, query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_at_least_one_and_bounded() {
        assert_eq!((cost(1), cost(MOST_COST)), (Ok(1), Ok(MOST_COST)));
        assert!(cost(0).is_err() && cost(MOST_COST + 1).is_err() && cost(u64::MAX).is_err());
    }

    #[test]
    fn a_method_is_a_token_in_capitals() {
        assert_eq!(method("get").unwrap(), "GET");
        assert_eq!(method("M-Search").unwrap(), "M-SEARCH");
        for text in ["", "GET /", "GÉT", "A\nB", "TWENTYONECHARACTERSxx"] {
            assert!(method(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_uri_is_taken_apart_without_its_host() {
        assert_eq!(split_uri("/orders/7?api_key=sk_1&x=/?#f"), ("/orders/7", "api_key=sk_1&x=/?"));
        assert_eq!(split_uri("https://api.example.com/a%20b?x"), ("/a%20b", "x"));
        assert_eq!(split_uri("http://api.example.com?x"), ("/", "x"));
        assert_eq!(split_uri("/go?to=http://a/b"), ("/go", "to=http://a/b"));
        assert_eq!(split_uri("/to/http://a/b"), ("/to/http://a/b", ""));
        assert_eq!(split_uri("orders.list"), ("orders.list", ""));
        assert_eq!((split_uri(""), split_uri("*")), (("", ""), ("*", "")));
    }

    #[test]
    fn each_scope_that_does_not_fit_is_named() {
        let mut errors = FieldErrors::default();
        let kept = scopes(&mut errors, "scopes", &["a:read".to_owned(), "b c".to_owned(), String::new()]);
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!((kept, fields), (vec!["a:read".to_owned()], vec!["scopes[1]", "scopes[2]"]));
        scopes(&mut errors, "many", &vec!["a".to_owned(); MOST_SCOPES + 1]);
        assert!(errors.of("many").is_some());
    }
}

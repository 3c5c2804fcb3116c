//! Extraction of the API key from a request, in the four forms of docs/api.md.

use actix_web::dev::RequestHead;
use actix_web::http::header::{HeaderMap, HeaderName};
use url::form_urlencoded;

use crate::domain::{access_token, api_key};
use crate::gate::Credential;
use crate::web::bearer;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static X_API_SECRET: HeaderName = HeaderName::from_static("x-api-secret");

/// Credential in a request.
#[derive(Debug)]
pub enum Presented {
    Nothing,
    Credential(Credential),
    /// Two different keys. Either choice would be a guess.
    Conflict,
}

/// Finds the key in `X-API-Key` and `X-API-Secret`, in `Authorization`, and if allowed in the query. Both the
/// request's own query and the original request's are searched.
pub fn find(head: &RequestHead, original_query: &str, allow_query_key: bool) -> Presented {
    let (Ok(mut keys), Ok(mut secrets)) = (values(&head.headers, &X_API_KEY), values(&head.headers, &X_API_SECRET))
    else {
        return Presented::Credential(Credential::Malformed);
    };
    if allow_query_key {
        for query in [head.uri.query().unwrap_or_default(), original_query] {
            let pairs = form_urlencoded::parse(query.as_bytes());
            let given = pairs.filter(|(name, value)| name == "api_key" && !value.is_empty());
            keys.extend(given.map(|(_, value)| value.into_owned()));
        }
    }
    if let Some(bearer) = bearer::presented(head).filter(|text| !text.is_empty()) {
        let is_ours = api_key::has_secret_form(bearer) || access_token::has_form(bearer);
        // Ignore other bearer tokens beside a key: clients send tokens of their own too.
        if is_ours || keys.is_empty() {
            secrets.push(bearer.to_owned());
            return choose(keys, secrets);
        }
    }
    // Ignore a secret without a key: none of the four forms looks like this.
    if keys.is_empty() { Presented::Nothing } else { choose(keys, secrets) }
}

/// Returns all values of a header except empty ones.
fn values(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, ()> {
    let texts = headers.get_all(name).map(|value| value.to_str().map(|text| text.trim().to_owned()).map_err(|_| ()));
    let texts: Result<Vec<String>, ()> = texts.collect();
    texts.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn choose(keys: Vec<String>, secrets: Vec<String>) -> Presented {
    let is_public = |text: &String| text.starts_with("pk_");
    let (mut ids, keys): (Vec<String>, Vec<String>) = keys.into_iter().partition(is_public);
    // Collect the secrets: each stands in `X-API-Secret` beside an id, alone in place of a key, or in `Authorization`.
    let mut secrets: Vec<String> = keys.into_iter().chain(secrets).collect();
    ids.sort_unstable();
    ids.dedup();
    secrets.sort_unstable();
    secrets.dedup();
    match (ids.as_slice(), secrets.as_slice()) {
        ([_, _, ..], _) | (_, [_, _, ..]) => Presented::Conflict,
        (_, []) => Presented::Nothing,
        ([], [secret]) => Presented::Credential(Credential::secret(secret)),
        ([id], [secret]) => Presented::Credential(Credential::pair(id, secret)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::domain::access_token::TokenSecret;
    use crate::domain::api_key::{Environment, KeyPrefix, KeySecret};

    fn secret() -> (String, String) {
        let secret = KeySecret::generate(&KeyPrefix::parse("fp").unwrap(), Environment::Live).unwrap();
        (secret.public_id(), secret.reveal_once())
    }

    fn seen(headers: &[(&str, &str)], query: &str, allow: bool) -> String {
        let mut request = TestRequest::with_uri(&format!("/x?{query}"));
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        match find(request.to_http_request().head(), "", allow) {
            Presented::Nothing => "nothing".into(),
            Presented::Conflict => "conflict".into(),
            Presented::Credential(Credential::Pair { public_id, .. }) => public_id,
            Presented::Credential(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn a_key_can_be_presented_in_four_ways() {
        let (id, secret) = secret();
        let bearer = format!("Bearer {secret}");
        assert_eq!(seen(&[("x-api-key", &id), ("x-api-secret", &secret)], "", false), id);
        assert_eq!(seen(&[("x-api-key", &secret)], "", false), id);
        assert_eq!(seen(&[("authorization", &bearer)], "", false), id);
        assert_eq!(seen(&[], &format!("api_key={secret}"), true), id);
        assert_eq!(seen(&[], &format!("api_key={secret}"), false), "nothing");
        assert_eq!(seen(&[("x-api-key", &secret), ("authorization", &bearer)], "", false), id);
    }

    #[test]
    fn an_id_alone_and_empty_headers_present_nothing() {
        let (id, _) = secret();
        assert_eq!(seen(&[("x-api-key", &id)], "", false), "nothing");
        assert_eq!(seen(&[("x-api-key", ""), ("x-api-secret", " ")], "", false), "nothing");
        assert_eq!(seen(&[("x-api-secret", &secret().1)], "", false), "nothing");
        assert_eq!(seen(&[("authorization", "Basic YTpi")], "", false), "nothing");
    }

    #[test]
    fn two_different_keys_conflict_and_a_foreign_bearer_beside_a_key_is_ignored() {
        let ((id, one), (_, two)) = (secret(), secret());
        let token = TokenSecret::generate().unwrap().reveal_once();
        assert_eq!(seen(&[("x-api-key", &one), ("x-api-secret", &two)], "", false), "conflict");
        assert_eq!(seen(&[("x-api-key", &one), ("x-api-key", &two)], "", false), "conflict");
        assert_eq!(seen(&[("x-api-key", &one)], &format!("api_key={two}"), true), "conflict");
        assert_eq!(seen(&[("x-api-key", &one), ("authorization", &format!("Bearer {token}"))], "", false), "conflict");
        assert_eq!(seen(&[("x-api-key", &one), ("authorization", "Bearer eyJhbGciOi.J9")], "", false), id);
        assert_eq!(seen(&[("authorization", "Bearer eyJhbGciOi.J9")], "", false), "Credential(malformed)");
    }
}

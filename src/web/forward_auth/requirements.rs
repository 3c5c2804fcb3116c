//! Requirements of a gateway: in the query of `/auth`, or in headers below `/auth/…`. Unreadable or untrusted
//! requirements are refused, since ignoring one would admit too many keys.

use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use ipnet::IpNet;
use url::form_urlencoded;

use super::BELOW;
use crate::domain::{Error, FieldErrors, Rejection, Result, text, verification};
use crate::web::client;
use crate::web::key_auth::Requirements;
use crate::web::problem::{Fail, Problem};

/// Names of each requirement: in the query, and as a header.
const NAMES: [(&str, &str); 4] = [
    ("tenant", "X-Gatepost-Require-Tenant"),
    ("scopes", "X-Gatepost-Require-Scopes"),
    ("environment", "X-Gatepost-Require-Environment"),
    ("cost", "X-Gatepost-Require-Cost"),
];
const HEADER_PREFIX: &str = "x-gatepost-require-";

/// Requirement as the gateway wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    name: &'static str,
    /// Name that the gateway used.
    field: String,
    value: String,
}

/// True if the response must be limited to what nginx's `auth_request` understands.
pub fn is_for_nginx(head: &RequestHead) -> bool {
    is_exact(head) && pairs(head).any(|(name, _)| name == "nginx")
}

/// True if the path is `/auth` itself. A path below it names the original request.
pub fn is_exact(head: &RequestHead) -> bool {
    !head.uri.path().starts_with(BELOW)
}

/// Returns the requirements of a gateway's request, or what is wrong with them.
pub fn of(head: &RequestHead, trusted: &[IpNet]) -> Result<Requirements, Fail> {
    let mut errors = FieldErrors::default();
    let headers = headers(head, &mut errors);
    let written = if is_exact(head) {
        for one in &headers {
            let says = "works only under /auth/…: at /auth, write requirements into the query";
            errors.add(&one.field, Rejection::new("misplaced", says));
        }
        query(head, &mut errors)
    } else {
        believe(head, trusted, !headers.is_empty() || !errors.is_empty())?;
        headers
    };
    let required = parse(&written, &mut errors);
    if errors.is_empty() { Ok(required) } else { Err(Error::from(errors).into()) }
}

/// Refuses requirement headers from untrusted peers. Any client can send such headers, so they cannot be followed. Nor
/// can they be ignored: if a gateway sent them, too many keys would be admitted.
fn believe(head: &RequestHead, trusted: &[IpNet], has_any: bool) -> Result<(), Fail> {
    if !has_any || client::is_behind_trusted_proxy(head, trusted) {
        return Ok(());
    }
    let peer = client::peer(head).map_or_else(|| "this address".to_owned(), |ip| ip.to_string());
    let says =
        format!("X-Gatepost-Require-… headers are accepted only from trusted proxies, and {peer} is not one of them");
    Err(Problem::new(StatusCode::FORBIDDEN, "untrusted_proxy", says).into())
}

fn pairs(head: &RequestHead) -> form_urlencoded::Parse<'_> {
    form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
}

/// Reads requirements from the query. Other names are refused: each may be a misspelled requirement, or the client's
/// own query.
fn query(head: &RequestHead, errors: &mut FieldErrors) -> Vec<Written> {
    let mut written = Vec::new();
    for (name, value) in pairs(head) {
        let known = NAMES.iter().find(|(own, _)| *own == name);
        match (known, name.as_ref()) {
            (Some((name, _)), _) => {
                written.push(Written { name, field: (*name).to_owned(), value: value.into_owned() });
            }
            (None, "nginx") if value == "1" => {}
            (None, "nginx") => errors.add("nginx", Rejection::new("choice", "must be 1, or left out")),
            // Skip: `key_auth::presented` reads the key, if the settings allow keys in queries.
            (None, "api_key") => {}
            (None, _) => {
                let field: String = name.chars().take(64).collect();
                let says = "is not a parameter of /auth: use tenant, scopes, environment, cost or nginx";
                errors.add(field, Rejection::new("unknown", says));
            }
        }
    }
    written
}

fn headers(head: &RequestHead, errors: &mut FieldErrors) -> Vec<Written> {
    let mut written = Vec::new();
    for (name, value) in &head.headers {
        let Some(rest) = name.as_str().strip_prefix(HEADER_PREFIX) else { continue };
        match NAMES.iter().find(|(own, _)| *own == rest) {
            Some((name, header)) => {
                let value = String::from_utf8_lossy(value.as_bytes()).trim().to_owned();
                written.push(Written { name, field: (*header).to_owned(), value });
            }
            None => errors.add(name.as_str(), Rejection::new("unknown", "is not a known requirement")),
        }
    }
    written
}

fn parse(written: &[Written], errors: &mut FieldErrors) -> Requirements {
    let mut required = Requirements::default();
    if let Some(one) = single(written, "tenant", errors) {
        required.tenant = errors.take(&one.field, text::slug(&one.value));
    }
    if let Some(one) = single(written, "environment", errors) {
        required.environment = errors.take(&one.field, one.value.parse());
    }
    if let Some(one) = single(written, "cost", errors) {
        let number = one.value.parse().unwrap_or(0);
        required.cost = errors.take(&one.field, verification::cost(number)).unwrap_or(1);
    }
    required.scopes = scopes(written, errors);
    required
}

/// Returns the only value of a requirement. Two different values are an error, since either choice would be a guess.
fn single<'a>(written: &'a [Written], name: &str, errors: &mut FieldErrors) -> Option<&'a Written> {
    let mut all = written.iter().filter(|one| one.name == name);
    let first = all.next()?;
    if all.any(|other| other.value != first.value) {
        errors.add(&first.field, Rejection::new("ambiguous", "is given more than once, with different values"));
        return None;
    }
    Some(first)
}

/// Returns the scopes of all values, separated by commas or spaces.
fn scopes(written: &[Written], errors: &mut FieldErrors) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    let mut field = None;
    for one in written.iter().filter(|one| one.name == "scopes") {
        let words = one.value.split([',', ' ', '\t']).map(str::trim).filter(|word| !word.is_empty());
        let before = named.len();
        named.extend(words.map(str::to_owned));
        if named.len() == before {
            errors.add(&one.field, Rejection::new("required", "must name a scope, or be left out"));
        }
        field = Some(&one.field);
    }
    field.map(|field| verification::scopes(errors, field, &named)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::domain::api_key::Environment;

    fn read(uri: &str, headers: &[(&str, &str)]) -> Result<Requirements, (u16, String)> {
        let mut request = TestRequest::with_uri(uri).peer_addr("10.0.0.1:1".parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        of(request.to_http_request().head(), &["10.0.0.0/8".parse().unwrap()]).map_err(|fail| {
            let fields: Vec<_> = fail.problem.errors.iter().map(|error| error.field.clone()).collect();
            (fail.problem.status.as_u16(), fields.join(" "))
        })
    }

    #[test]
    fn query_and_headers_give_the_same_requirements() {
        let all = Requirements {
            tenant: Some("acme".into()),
            scopes: vec!["orders:read".into(), "stock:*".into(), "a".into()],
            environment: Some(Environment::Test),
            cost: 5,
        };
        let query = "/auth?tenant=acme&scopes=orders:read,stock:*+a&environment=test&cost=5&nginx=1&api_key=x";
        assert_eq!(read(query, &[]).unwrap(), all);
        let headers = [
            ("x-gatepost-require-tenant", "acme"),
            ("x-gatepost-require-scopes", "orders:read, stock:*"),
            ("X-Gatepost-Require-Scopes", "a"),
            ("x-gatepost-require-environment", "test"),
            ("x-gatepost-require-cost", "5"),
        ];
        assert_eq!(read("/auth/orders?tenant=other&cost=0&nginx=1", &headers).unwrap(), all);
        assert_eq!(read("/auth", &[]).unwrap(), Requirements::default());
        assert_eq!(read("/auth/", &[]).unwrap(), Requirements::default());
        assert_eq!(read("/auth?scopes=a%20b%2Cc&scopes=d", &[]).unwrap().scopes, ["a", "b", "c", "d"]);
        assert_eq!(read("/auth?tenant=acme&tenant=acme", &[]).unwrap().tenant.as_deref(), Some("acme"));
    }

    #[test]
    fn invalid_requirements_are_refused_by_name() {
        for (query, field) in [
            ("tenant=", "tenant"),
            ("tenant=Acme", "tenant"),
            ("tenant=a&tenant=b", "tenant"),
            ("scopes=", "scopes"),
            ("scopes=,%20,", "scopes"),
            ("scopes=a,b%3Bc", "scopes[1]"),
            ("scopes=%FF", "scopes[0]"),
            ("scope=a", "scope"),
            ("environment=moon", "environment"),
            ("environment=", "environment"),
            ("cost=0", "cost"),
            ("cost=-1", "cost"),
            ("cost=1.5", "cost"),
            ("cost=99999999999999999999999", "cost"),
            ("cost=1000001", "cost"),
            ("cost=", "cost"),
            ("nginx=yes", "nginx"),
            ("page=2", "page"),
            ("scope=a&cost=0", "scope cost"),
        ] {
            assert_eq!(read(&format!("/auth?{query}"), &[]), Err((422, field.to_owned())), "{query}");
        }
        let header = |name: &str, value: &str| read("/auth/x", &[(name, value)]);
        let named = |field: &str| Err((422, field.to_owned()));
        assert_eq!(header("x-gatepost-require-cost", "0"), named("X-Gatepost-Require-Cost"));
        assert_eq!(header("x-gatepost-require-scopes", ""), named("X-Gatepost-Require-Scopes"));
        assert_eq!(header("x-gatepost-require-scope", "a"), named("x-gatepost-require-scope"));
        let at_auth = read("/auth", &[("x-gatepost-require-scopes", "a")]);
        assert_eq!(at_auth, named("X-Gatepost-Require-Scopes"), "the header is not read there");
    }
}

//! Original request that a gateway asks about, read from each gateway's headers.

use actix_web::dev::RequestHead;
use actix_web::http::header::HeaderName;

use super::PATH;
use super::requirements::is_exact;
use crate::domain::verification;
use crate::web::key_auth::Original;

/// Header names for the original request's URI and method.
type Names = (HeaderName, HeaderName);

/// Headers that nginx is configured to send, and headers of Traefik and Caddy. Each gateway also passes its clients'
/// headers on, so the gateway's own headers are read first.
static NGINX: Names = (HeaderName::from_static("x-original-uri"), HeaderName::from_static("x-original-method"));
static FORWARDED: Names = (HeaderName::from_static("x-forwarded-uri"), HeaderName::from_static("x-forwarded-method"));

/// Returns the original request. Below `/auth/` the rest of the path names it (Envoy). At `/auth` headers do; without
/// them it is this request.
pub fn of(head: &RequestHead, is_for_nginx: bool) -> Original {
    if !is_exact(head) {
        let path = head.uri.path().strip_prefix(PATH).unwrap_or_default();
        return Original {
            method: head.method.to_string(),
            path: path.to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
        };
    }
    let order = if is_for_nginx { [&NGINX, &FORWARDED] } else { [&FORWARDED, &NGINX] };
    let said = |pick: fn(&Names) -> &HeaderName| order.into_iter().find_map(|names| header(head, pick(names)));
    let uri = said(|names| &names.0);
    let (path, query) = verification::split_uri(uri.as_deref().unwrap_or(PATH));
    let method = said(|names| &names.1).and_then(|text| verification::method(&text).ok());
    Original {
        method: method.unwrap_or_else(|| head.method.to_string()),
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        query: query.to_owned(),
    }
}

/// Returns the last line of a header, which the nearest proxy wrote.
fn header(head: &RequestHead, name: &HeaderName) -> Option<String> {
    let value = head.headers.get_all(name).last()?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use actix_web::test::TestRequest;

    use super::*;

    fn told(uri: &str, headers: &[(&str, &str)], is_for_nginx: bool) -> (String, String, String) {
        let mut request = TestRequest::with_uri(uri).method(Method::PUT);
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let original = of(request.to_http_request().head(), is_for_nginx);
        (original.method, original.path, original.query)
    }

    fn expected(method: &str, path: &str, query: &str) -> (String, String, String) {
        (method.to_owned(), path.to_owned(), query.to_owned())
    }

    #[test]
    fn headers_of_each_gateway_are_read() {
        let forwarded = [("x-forwarded-uri", "/orders?page=2"), ("x-forwarded-method", "delete")];
        assert_eq!(told("/auth?tenant=acme", &forwarded, false), expected("DELETE", "/orders", "page=2"));
        let nginx = [("x-original-uri", "/orders?page=2"), ("x-original-method", "POST")];
        assert_eq!(told("/auth?nginx=1", &nginx, true), expected("POST", "/orders", "page=2"));
        assert_eq!(told("/auth/orders/a%2Fb?page=2", &forwarded, false), expected("PUT", "/orders/a%2Fb", "page=2"));
        assert_eq!(told("/auth/", &[], false), expected("PUT", "/", ""));
        assert_eq!(told("/auth?tenant=acme", &[], false), expected("PUT", "/auth", ""));
    }

    #[test]
    fn a_clients_header_does_not_override_the_gateways() {
        let both = [
            ("x-original-uri", "/n"),
            ("x-original-method", "GET"),
            ("x-forwarded-uri", "/f"),
            ("x-forwarded-method", "POST"),
        ];
        assert_eq!(told("/auth", &both, true), expected("GET", "/n", ""));
        assert_eq!(told("/auth", &both, false), expected("POST", "/f", ""));
        let twice =
            [("x-forwarded-uri", "/clients"), ("x-forwarded-uri", "/ours"), ("x-forwarded-method", "no method")];
        assert_eq!(told("/auth", &twice, false), expected("PUT", "/ours", ""));
        assert_eq!(told("/auth", &[("x-forwarded-uri", "?api_key=x")], false), expected("PUT", "/", "api_key=x"));
    }
}

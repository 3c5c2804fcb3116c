//! Base URL of this instance, for text that users copy and to recognize the instance's own forms.

use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use actix_web::http::header::{HOST, HeaderName, HeaderValue};
use ipnet::IpNet;
use url::Url;

use super::client;
use super::state::State;

static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Returns the configured base URL. Without one, returns the URL that this request was sent to.
pub fn of(request: &HttpRequest, state: &State) -> Url {
    let reached = || Reached::by(request.head(), state).urls("http").next();
    configured(state).cloned().or_else(reached).unwrap_or_else(|| state.settings.public_url.clone())
}

/// Returns `GATEPOST_PUBLIC_URL` if it is set.
pub fn configured(state: &State) -> Option<&Url> {
    state.settings.has_public_url().then_some(&state.settings.public_url)
}

/// Scheme and hosts that a request was sent to, as stated by the browser or a trusted proxy.
pub struct Reached<'a> {
    /// `https` if the settings say so. Otherwise the value from a trusted proxy, or `None` if unknown.
    scheme: Option<&'static str>,
    /// `X-Forwarded-Host` of a trusted proxy, then `Host`.
    hosts: [Option<&'a str>; 2],
    /// `X-Forwarded-Port` of a trusted proxy. It belongs to a host that names no port.
    port: Option<u16>,
    /// True if the request has `X-Forwarded-*` headers of a proxy that `GATEPOST_TRUSTED_PROXIES` does not list.
    pub is_forwarder_untrusted: bool,
}

impl<'a> Reached<'a> {
    /// Reads where a request was sent to.
    pub fn by(head: &'a RequestHead, state: &State) -> Self {
        let reached = Self::read(head, &state.settings.trusted_proxies);
        Self { scheme: state.is_https().then_some("https").or(reached.scheme), ..reached }
    }

    fn read(head: &'a RequestHead, trusted: &[IpNet]) -> Self {
        let is_trusted = client::is_behind_trusted_proxy(head, trusted);
        let forwarded = |name| if is_trusted { last(head, name) } else { None };
        let scheme = forwarded(&FORWARDED_PROTO)
            .and_then(|scheme| ["https", "http"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known)));
        let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let is_forwarded = [&FORWARDED_HOST, &FORWARDED_PORT, &FORWARDED_PROTO]
            .into_iter()
            .any(|name| head.headers.contains_key(name));
        Self {
            scheme,
            hosts: [forwarded(&FORWARDED_HOST), host],
            port: forwarded(&FORWARDED_PORT).and_then(|port| port.parse().ok()),
            is_forwarder_untrusted: is_forwarded && !is_trusted,
        }
    }

    /// Returns a base URL per host. `scheme` applies only if the request's own scheme is unknown.
    pub fn urls(&self, scheme: &str) -> impl Iterator<Item = Url> {
        let scheme = self.scheme.unwrap_or(scheme).to_owned();
        let named = self.hosts.into_iter().flatten().filter_map(move |host| plain(&format!("{scheme}://{host}")));
        named.flat_map(|url| {
            let with_port = self.port.filter(|_| url.port().is_none()).and_then(|port| {
                let mut url = url.clone();
                url.set_port(Some(port)).is_ok().then_some(url)
            });
            with_port.into_iter().chain([url])
        })
    }
}

/// Returns the last element of a list header. The nearest proxy wrote that element.
fn last<'a>(head: &'a RequestHead, name: &HeaderName) -> Option<&'a str> {
    let line = head.headers.get_all(name).last().map(HeaderValue::to_str)?.ok()?;
    line.rsplit(',').next().map(str::trim).filter(|element| !element.is_empty())
}

/// Parses an `http` or `https` URL that consists of scheme, host and port only.
pub fn plain(text: &str) -> Option<Url> {
    // The parser turns backslashes into slashes and drops tabs and line ends, so refuse them before.
    let url = Url::parse(text).ok().filter(|_| !text.contains(['\\', '\t', '\n', '\r']))?;
    let is_plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    (is_plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}

/// True if scheme, host and port are equal after normalization.
pub fn is_same_origin(one: &Url, other: &Url) -> bool {
    let host = |url: &Url| url.host_str().map(|host| host.trim_end_matches('.').to_owned());
    one.scheme() == other.scheme()
        && host(one) == host(other)
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// Returns the URLs that a request from this peer was sent to, with 10.0.0.1 as the trusted proxy.
    fn reached(peer: &str, headers: &[(&str, &str)]) -> Vec<String> {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        let request = request.to_http_request();
        let trusted = ["10.0.0.1/32".parse().unwrap()];
        Reached::read(request.head(), &trusted).urls("http").map(String::from).collect()
    }

    #[test]
    fn the_host_header_gives_the_address() {
        assert_eq!(reached("10.0.0.2", &[("host", "10.0.0.5:8000")]), ["http://10.0.0.5:8000/"]);
        assert_eq!(reached("10.0.0.2", &[("host", "[::1]:8000")]), ["http://[::1]:8000/"]);
        for odd in ["", "a b", "evil.example/x", "a@b", "a:b@c", "a?b", "a#b", "a\\b", "a\tb"] {
            assert!(reached("10.0.0.2", &[("host", odd)]).is_empty(), "{odd:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_may_set_forwarded_headers() {
        let headers = [("host", "app:8000"), ("x-forwarded-host", "keys.example:8443"), ("x-forwarded-proto", "HTTPS")];
        assert_eq!(reached("10.0.0.2", &headers), ["http://app:8000/"]);
        assert_eq!(reached("10.0.0.1", &headers), ["https://keys.example:8443/", "https://app:8000/"]);
    }

    #[test]
    fn the_last_element_of_a_forwarded_header_counts() {
        let headers = [("x-forwarded-host", "evil.example"), ("x-forwarded-host", "evil.example, keys.example")];
        assert_eq!(reached("10.0.0.1", &headers), ["http://keys.example/"]);
    }

    #[test]
    fn a_trusted_proxys_port_completes_a_host_without_one() {
        let port = |host| [("host", host), ("x-forwarded-port", "8443")];
        assert_eq!(reached("10.0.0.1", &port("a")), ["http://a:8443/", "http://a/"]);
        assert_eq!(reached("10.0.0.1", &port("a:8000")), ["http://a:8000/"]);
        assert_eq!(reached("10.0.0.2", &port("a")), ["http://a/"]);
    }

    #[test]
    fn origins_are_compared_and_not_their_spelling() {
        let is_same = |one, other| is_same_origin(&plain(one).unwrap(), &plain(other).unwrap());
        for (one, other) in [
            ("https://keys.example", "https://KEYS.example:443"),
            ("http://keys.example.", "http://keys.example:80"),
            ("http://[0:0::1]:8000", "http://[::1]:8000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
        ] {
            assert!(is_same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("http://keys.example", "https://keys.example"),
            ("http://keys.example", "http://keys.example:8000"),
            ("http://keys.example", "http://keys.example.evil.example"),
            ("http://keys.example", "http://a.keys.example"),
        ] {
            assert!(!is_same(one, other), "{one} {other}");
        }
        for odd in ["null", "", "file://", "javascript:0", "https://a/b", "https://u@a", "keys.example"] {
            assert!(plain(odd).is_none(), "{odd}");
        }
    }
}

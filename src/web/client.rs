//! Client address of a request.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::Version;
use actix_web::http::header::{HOST, HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use ipnet::IpNet;

/// Returns the client's IP address. `X-Forwarded-For` counts only if the peer is a trusted proxy. The client is then
/// the right-most address that is not itself a trusted proxy.
pub fn address(head: &RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer(head)?;
    if !is_within(trusted, peer) {
        return Some(peer);
    }
    let lines: Vec<_> = head.headers.get_all("x-forwarded-for").map(HeaderValue::as_bytes).collect();
    let mut nearest = peer;
    // Split as bytes: a client may send invalid UTF-8 to the left of what our proxies wrote.
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        // Stop at an unreadable element. No trusted proxy wrote it, so everything to its left is unverified.
        let Some(ip) = std::str::from_utf8(hop).ok().and_then(hop_address) else { break };
        nearest = ip;
        if !is_within(trusted, nearest) {
            break;
        }
    }
    Some(nearest)
}

/// True if the peer is a trusted proxy.
pub fn is_behind_trusted_proxy(head: &RequestHead, trusted: &[IpNet]) -> bool {
    peer(head).is_some_and(|peer| is_within(trusted, peer))
}

/// Returns the address of the connection's other end.
pub fn peer(head: &RequestHead) -> Option<IpAddr> {
    head.peer_addr.map(|addr| canonical(addr.ip()))
}

/// Headers that a scraper or browser on this machine sends. Any other header indicates a proxy.
const OWN_HEADERS: [&str; 28] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "baggage",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dnt",
    "host",
    "http2-settings",
    "if-modified-since",
    "if-none-match",
    "pragma",
    "priority",
    "sec-gpc",
    "te",
    "traceparent",
    "tracestate",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "x-api-key",
    "x-api-secret",
    "x-prometheus-scrape-timeout-seconds",
];
/// Prefixes of further headers that only a browser can set.
const OWN_PREFIXES: [&str; 2] = ["sec-fetch-", "sec-ch-ua"];

/// True if a program on this machine made the request itself. A proxy on this machine also connects from loopback. The
/// check therefore refuses all that a proxy could add or pass on: unknown headers, a public host, and HTTP/1.0,
/// nginx's default.
pub fn is_on_this_machine(head: &RequestHead) -> bool {
    let is_own = |name: &HeaderName| {
        let name = name.as_str();
        OWN_HEADERS.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let hosts = head.headers.get_all(HOST).map(|host| host.to_str().unwrap_or_default());
    let mut hosts = hosts.chain(head.uri.authority().map(Authority::as_str)).peekable();
    peer(head).is_some_and(|peer| peer.is_loopback())
        && head.version == Version::HTTP_11
        && head.headers.keys().all(is_own)
        && hosts.peek().is_some()
        && hosts.all(is_loopback_host)
}

/// True for `localhost`, its subdomains and loopback addresses, with any port.
fn is_loopback_host(host: &str) -> bool {
    // Refuse characters that would move the end of the host when the text is parsed as a URL.
    if host.contains(['/', '\\', '?', '#', '@']) {
        return false;
    }
    match url::Url::parse(&format!("http://{host}/")).ok().as_ref().and_then(url::Url::host) {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => canonical(ip.into()).is_loopback(),
        Some(url::Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

fn is_within(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

/// Parses an address as proxies write it: bare, in brackets, with a port, or quoted as in `Forwarded`.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(canonical)
}

/// Returns `192.0.2.1` for `::ffff:192.0.2.1`, so that each address has one spelling.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// Returns the client's address, with 10.0.0.0/8 and 2001:db8:1::/48 as trusted proxies.
    fn seen_from(peer: &str, lines: &[&[u8]]) -> String {
        let mut request = TestRequest::default().peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
        for line in lines {
            request = request.append_header(("x-forwarded-for", HeaderValue::from_bytes(line).unwrap()));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        address(request.to_http_request().head(), &trusted).unwrap().to_string()
    }

    fn seen(peer: &str, forwarded: &str) -> String {
        seen_from(peer, &[forwarded.as_bytes()])
    }

    /// Checks a loopback request for `uri` with these additional headers.
    fn is_local(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = TestRequest::with_uri(uri).peer_addr("127.0.0.1:1".parse().unwrap());
        for (name, value) in headers {
            request = request.append_header((*name, *value));
        }
        is_on_this_machine(request.to_http_request().head())
    }

    #[test]
    fn scrapers_and_browsers_on_this_machine_are_recognized() {
        for host in ["localhost:8000", "localhost", "127.0.0.1:8000", "127.0.1.1", "[::1]:8000", "gatepost.localhost"] {
            assert!(is_local("/metrics", &[("host", host)]), "{host}");
        }
        let prometheus = [
            ("host", "localhost:8000"),
            ("user-agent", "Prometheus/3.5.0"),
            ("accept", "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"),
            ("accept-encoding", "gzip"),
            ("x-prometheus-scrape-timeout-seconds", "10"),
        ];
        assert!(is_local("/metrics", &prometheus));
        let browser = [("host", "localhost:8000"), ("sec-fetch-site", "none"), ("cookie", "a=b"), ("dnt", "1")];
        assert!(is_local("/metrics", &browser));
    }

    #[test]
    fn a_request_with_any_header_of_a_proxy_is_not_from_this_machine() {
        for name in [
            "forwarded",
            "via",
            "x-forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-prefix",
            "forwarded-for",
            "x-real-ip",
            "x-client-ip",
            "client-ip",
            "x-cluster-client-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "cf-ray",
            "cdn-loop",
            "fastly-client-ip",
            "x-original-uri",
            "x-original-forwarded-for",
            "x-originating-ip",
            "x-remote-addr",
            "x-envoy-external-address",
            "x-azure-clientip",
            "x-amzn-trace-id",
            "x-request-id",
            "proxy-client-ip",
            "x-varnish",
            "x-scheme",
            "front-end-https",
            "x-some-proxy-of-tomorrow",
            "x-prometheus-forwarded-for",
            "sec-x-real-ip",
        ] {
            assert!(!is_local("/metrics", &[("host", "localhost:8000"), (name, "")]), "{name}");
        }
    }

    #[test]
    fn a_request_for_a_public_host_is_not_from_this_machine() {
        for host in [
            "keys.example.com",
            "localhost.example.com",
            "10.0.0.1:8000",
            "0.0.0.0",
            "evil@10.0.0.1",
            "localhost/evil",
            "evil@localhost",
            "",
            "a b",
        ] {
            assert!(!is_local("/metrics", &[("host", host)]), "{host}");
        }
        assert!(!is_local("/metrics", &[("host", "localhost"), ("host", "keys.example.com")]));
        assert!(!is_local("http://keys.example.com/metrics", &[("host", "localhost")]));
        assert!(!is_local("/metrics", &[]));
    }

    #[test]
    fn an_http_1_0_request_is_not_from_this_machine() {
        let request = TestRequest::with_uri("/metrics").peer_addr("127.0.0.1:1".parse().unwrap());
        let request = request.version(Version::HTTP_10).insert_header(("host", "localhost"));
        assert!(!is_on_this_machine(request.to_http_request().head()));
    }

    #[test]
    fn only_loopback_is_this_machine() {
        let seen_from = |peer: &str| {
            let request = TestRequest::with_uri("/metrics").peer_addr(SocketAddr::new(peer.parse().unwrap(), 1));
            is_on_this_machine(request.insert_header(("host", "localhost")).to_http_request().head())
        };
        assert!(seen_from("::1") && seen_from("::ffff:127.0.0.1") && seen_from("127.8.8.8"));
        assert!(!seen_from("10.0.0.1") && !seen_from("::ffff:10.0.0.1"));
    }

    #[test]
    fn the_right_most_address_that_is_no_trusted_proxy_counts() {
        assert_eq!(seen("192.0.2.9", "203.0.113.1"), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", "203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "1.1.1.1, 203.0.113.1, 10.0.0.2"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "::ffff:203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "203.0.113.1, junk, 10.0.0.3"), "10.0.0.3");
    }

    #[test]
    fn hops_are_read_from_the_right_over_all_header_lines() {
        assert_eq!(seen("10.0.0.1", "203.0.113.1,10.0.0.4 ,\t10.0.0.3"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "10.0.0.5, 10.0.0.4"), "10.0.0.5", "all of them are ours: the first of them");
        assert_eq!(seen_from("10.0.0.1", &[b"1.1.1.1", b"203.0.113.1, 10.0.0.4", b"10.0.0.3"]), "203.0.113.1");
        assert_eq!(seen_from("10.0.0.1", &[b"203.0.113.1", b"junk"]), "10.0.0.1");
        assert_eq!(seen_from("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_address_may_have_a_port_or_brackets_or_be_mapped() {
        assert_eq!(seen("10.0.0.1", "203.0.113.1:50123"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "2001:db8:2::7"), "2001:db8:2::7");
        assert_eq!(seen("10.0.0.1", "[2001:db8:2::7]"), "2001:db8:2::7");
        assert_eq!(seen("10.0.0.1", "[2001:db8:2::7]:443, [2001:db8:1::1]:443"), "2001:db8:2::7");
        assert_eq!(seen("10.0.0.1", "\"[2001:db8:2::7]:443\""), "2001:db8:2::7");
        assert_eq!(seen("10.0.0.1", "203.0.113.1, ::ffff:10.0.0.2"), "203.0.113.1");
        assert_eq!(seen("::ffff:10.0.0.1", "[::ffff:203.0.113.1]:80"), "203.0.113.1");
        assert_eq!(seen("2001:db8:1::5", "203.0.113.1"), "203.0.113.1");
    }

    #[test]
    fn an_unreadable_hop_ends_the_search() {
        for junk in ["", " ", ",", "unknown", "_hidden", "unix:", "203.0.113.1.5", "203.0.113.1:", "[::1", "::1%eth0"] {
            assert_eq!(seen("10.0.0.1", junk), "10.0.0.1", "{junk:?}");
            assert_eq!(seen("10.0.0.1", &format!("203.0.113.1, {junk}, 10.0.0.2")), "10.0.0.2", "{junk:?}");
            assert_eq!(seen("10.0.0.1", &format!("{junk}, 203.0.113.1, 10.0.0.2")), "203.0.113.1", "{junk:?}");
        }
        assert_eq!(
            seen_from("10.0.0.1", &[b"\xff\xfe, 203.0.113.1"]),
            "203.0.113.1",
            "bytes of the client's are its own"
        );
        assert_eq!(seen_from("10.0.0.1", &[b"203.0.113.1, \xff"]), "10.0.0.1");
    }
}

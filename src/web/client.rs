//! Who is calling, as far as addresses go.

use std::net::IpAddr;

use actix_web::HttpRequest;
use ipnet::IpNet;

/// The caller's address. `X-Forwarded-For` is believed only behind trusted proxies, and there
/// it is the right-most address that is not itself a trusted proxy.
pub fn address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = canonical(request.peer_addr()?.ip());
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let headers = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let listed: Vec<&str> = headers.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut nearest = peer;
    for text in listed.iter().rev() {
        // Something unreadable was not written by a proxy of ours: what stands left of it proves nothing.
        let Ok(ip) = text.parse::<IpAddr>() else { break };
        nearest = canonical(ip);
        if !is_trusted(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// `::ffff:192.0.2.1` is `192.0.2.1`: one spelling for one address.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(peer: &str, forwarded: &str) -> String {
        let request = TestRequest::default().peer_addr(format!("{peer}:1").parse().unwrap());
        let request = request.insert_header(("x-forwarded-for", forwarded)).to_http_request();
        address(&request, &["10.0.0.0/8".parse().unwrap()]).unwrap().to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_the_right_most_stranger_counts() {
        assert_eq!(seen("192.0.2.9", "203.0.113.1"), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", "203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "1.1.1.1, 203.0.113.1, 10.0.0.2"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "::ffff:203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "203.0.113.1, junk, 10.0.0.3"), "10.0.0.3");
    }
}

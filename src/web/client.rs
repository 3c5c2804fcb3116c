//! Who is calling, as far as addresses go.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::HeaderValue;
use ipnet::IpNet;

/// The caller's address. `X-Forwarded-For` is believed only behind trusted proxies, and there
/// it is the right-most address that is not itself a trusted proxy.
pub fn address(head: &RequestHead, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer(head)?;
    if !is_within(trusted, peer) {
        return Some(peer);
    }
    let lines: Vec<_> = head.headers.get_all("x-forwarded-for").map(HeaderValue::as_bytes).collect();
    let mut nearest = peer;
    // Byte by byte, since a client may have put anything to the left of what our proxies wrote.
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        // Something unreadable was not written by a proxy of ours: what stands left of it proves nothing.
        let Some(ip) = std::str::from_utf8(hop).ok().and_then(hop_address) else { break };
        nearest = ip;
        if !is_within(trusted, nearest) {
            break;
        }
    }
    Some(nearest)
}

/// Whether whoever holds the other end of the connection is a trusted proxy.
pub fn is_behind_trusted_proxy(head: &RequestHead, trusted: &[IpNet]) -> bool {
    peer(head).is_some_and(|peer| is_within(trusted, peer))
}

/// The other end of the connection.
pub fn peer(head: &RequestHead) -> Option<IpAddr> {
    head.peer_addr.map(|addr| canonical(addr.ip()))
}

fn is_within(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip))
}

/// An address as proxies write it: alone, in brackets, or with a port. Some quote it, as `Forwarded` does.
fn hop_address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|addr| addr.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(canonical)
}

/// `::ffff:192.0.2.1` is `192.0.2.1`: one spelling for one address.
pub fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    /// Behind the proxies 10.0.0.0/8 and 2001:db8:1::/48.
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

    #[test]
    fn only_trusted_proxies_are_believed_and_the_right_most_stranger_counts() {
        assert_eq!(seen("192.0.2.9", "203.0.113.1"), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", "203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "1.1.1.1, 203.0.113.1, 10.0.0.2"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "::ffff:203.0.113.1"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "203.0.113.1, junk, 10.0.0.3"), "10.0.0.3");
    }

    #[test]
    fn hops_are_counted_from_the_right_over_all_lines() {
        assert_eq!(seen("10.0.0.1", "203.0.113.1,10.0.0.4 ,\t10.0.0.3"), "203.0.113.1");
        assert_eq!(seen("10.0.0.1", "10.0.0.5, 10.0.0.4"), "10.0.0.5", "all of them are ours: the first of them");
        assert_eq!(seen_from("10.0.0.1", &[b"1.1.1.1", b"203.0.113.1, 10.0.0.4", b"10.0.0.3"]), "203.0.113.1");
        assert_eq!(seen_from("10.0.0.1", &[b"203.0.113.1", b"junk"]), "10.0.0.1");
        assert_eq!(seen_from("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn an_address_may_come_with_a_port_in_brackets_or_mapped() {
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
    fn what_cannot_be_read_ends_the_search() {
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

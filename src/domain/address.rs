//! Address policy: which network addresses an outgoing request may reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Kind of network that an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The public internet.
    Public,
    /// A private network: reachable only if an operator has allowed it. The text completes "is …".
    Private(&'static str),
    /// An address that no request may reach, whatever the settings.
    Never(&'static str),
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// Table of IPv4 addresses, from the IANA special-purpose registry and cloud metadata services. The first match
/// counts.
const TABLE_V4: &[(Ipv4Net, Reach)] = &[
    (v4(100, 100, 100, 200, 32), Reach::Never("a cloud's metadata service")),
    (v4(168, 63, 129, 16, 32), Reach::Never("a cloud's metadata service")),
    (v4(0, 0, 0, 0, 8), Reach::Never("an unspecified address")),
    (v4(10, 0, 0, 0, 8), Reach::Private("a private address")),
    (v4(100, 64, 0, 0, 10), Reach::Private("a shared (carrier-grade NAT) address")),
    (v4(127, 0, 0, 0, 8), Reach::Private("a loopback address")),
    (v4(169, 254, 0, 0, 16), Reach::Never("a link-local address")),
    (v4(172, 16, 0, 0, 12), Reach::Private("a private address")),
    (v4(192, 0, 0, 0, 24), Reach::Never("an address reserved for protocols")),
    (v4(192, 0, 2, 0, 24), Reach::Never("an address for documentation")),
    (v4(192, 88, 99, 0, 24), Reach::Never("a retired 6to4 relay address")),
    (v4(192, 168, 0, 0, 16), Reach::Private("a private address")),
    (v4(198, 18, 0, 0, 15), Reach::Private("an address for benchmarks")),
    (v4(198, 51, 100, 0, 24), Reach::Never("an address for documentation")),
    (v4(203, 0, 113, 0, 24), Reach::Never("an address for documentation")),
    (v4(224, 0, 0, 0, 4), Reach::Never("a multicast address")),
    (v4(255, 255, 255, 255, 32), Reach::Never("the broadcast address")),
    (v4(240, 0, 0, 0, 4), Reach::Never("a reserved address")),
];

/// Table of IPv6 addresses, from the IANA special-purpose registry. Used after forms that carry an IPv4 address.
const TABLE_V6: &[(Ipv6Net, Reach)] = &[
    (v6([0xfd00, 0x0ec2, 0, 0], 64), Reach::Never("a cloud's metadata service")),
    (v6([0xfd20, 0x00ce, 0, 0], 64), Reach::Never("a cloud's metadata service")),
    (v6([0xfc00, 0, 0, 0], 7), Reach::Private("a unique local address")),
    (v6([0xfe80, 0, 0, 0], 10), Reach::Never("a link-local address")),
    (v6([0xfec0, 0, 0, 0], 10), Reach::Private("a site-local address")),
    (v6([0xff00, 0, 0, 0], 8), Reach::Never("a multicast address")),
    (v6([0x2001, 0x0db8, 0, 0], 32), Reach::Never("an address for documentation")),
    (v6([0x3fff, 0, 0, 0], 20), Reach::Never("an address for documentation")),
    (v6([0x2001, 0, 0, 0], 23), Reach::Never("an address reserved for protocols")),
    (v6([0x2000, 0, 0, 0], 3), Reach::Public),
];

/// Parses a network, or an address as a network of one. An IPv4-mapped network becomes the IPv4 network, since
/// addresses are compared in that form.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()?;
    let mapped = match network {
        IpNet::V6(wide) if 96 <= wide.prefix_len() => {
            wide.addr().to_ipv4_mapped().map(|ip| (ip, wide.prefix_len() - 96))
        }
        _ => None,
    };
    mapped.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok()).map_or(Some(network), |net| Some(IpNet::V4(net)))
}

/// Returns the addresses at which a connection to `ip` may end: the address itself, or one that it carries inside
/// (IPv4-mapped, -compatible, -translated, NAT64, 6to4, Teredo, ISATAP).
fn destinations(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(outer) = ip else { return vec![ip] };
    let [a, b, c, d, e, f, g, h] = outer.segments();
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0] if g == 0 && h <= 1 => vec![ip],
        [0, 0, 0, 0, 0, 0xffff | 0] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => vec![join(g, h)],
        [0x2002, high, low, ..] => vec![join(high, low)],
        [0x2001, 0, high, low, ..] => vec![join(high, low), join(!g, !h)],
        [.., 0 | 0x0200, 0x5efe] => vec![ip, join(g, h)],
        _ => vec![ip],
    }
}

/// Returns the kind of one address. IPv6 addresses outside the table are reserved.
fn reach_of(ip: IpAddr) -> Reach {
    match ip {
        IpAddr::V4(ip) => TABLE_V4.iter().find(|(net, _)| net.contains(&ip)).map_or(Reach::Public, |(_, reach)| *reach),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Reach::Never("an unspecified address"),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Reach::Private("a loopback address"),
        IpAddr::V6(ip) => {
            let found = TABLE_V6.iter().find(|(net, _)| net.contains(&ip));
            found.map_or(Reach::Never("a reserved address"), |(_, reach)| *reach)
        }
    }
}

/// Refusal of an address, with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Address that was refused.
    pub address: IpAddr,
    what: &'static str,
    is_allowable: bool,
}

impl fmt::Display for Refusal {
    /// Writes the rest of a sentence that starts with "resolves to" or "is".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.address, self.what)?;
        if self.is_allowable {
            f.write_str("; an operator can allow it with GATEPOST_ALLOW_PRIVATE_NETWORKS")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Addresses and schemes that this instance's outgoing requests may use.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    /// Private networks that an operator has allowed.
    pub private_networks: Vec<IpNet>,
    /// True if `http:` URLs are accepted beside `https:`.
    pub allow_http: bool,
}

impl AddressPolicy {
    /// Refuses an address that is not public, unless an operator has allowed its network.
    pub fn vet(&self, address: IpAddr) -> Result<(), Refusal> {
        for destination in destinations(address) {
            let (what, is_allowable) = match reach_of(destination) {
                Reach::Public => continue,
                Reach::Private(_) if self.private_networks.iter().any(|net| net.contains(&destination)) => continue,
                Reach::Private(what) => (what, true),
                Reach::Never(what) => (what, false),
            };
            return Err(Refusal { address, what, is_allowable });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vet(policy: &AddressPolicy, ip: &str) -> Result<(), Refusal> {
        policy.vet(ip.parse().unwrap())
    }

    #[test]
    fn public_addresses_pass() {
        let policy = AddressPolicy::default();
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "100.63.255.255",
            "100.128.0.0",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert_eq!(vet(&policy, ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_form_unless_allowed() {
        let policy = AddressPolicy::default();
        let all = AddressPolicy {
            private_networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            allow_http: false,
        };
        for ip in [
            "10.0.0.5",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.19.0.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "::ffff:10.0.0.5",
            "::10.0.0.5",
            "::ffff:0:127.0.0.1",
            "64:ff9b::a00:5",
            "2002:a00:5::",
            "2001:0:808:808::f5ff:fffa",
            "2001:0:a00:5::f7f7:f7f7",
            "2606:4700::5efe:a00:5",
            "2606:4700::200:5efe:7f00:1",
        ] {
            let refusal = vet(&policy, ip).unwrap_err();
            assert!(refusal.to_string().contains("GATEPOST_ALLOW_PRIVATE_NETWORKS"), "{ip}: {refusal}");
            assert_eq!(vet(&all, ip), Ok(()), "{ip}");
        }
    }

    #[test]
    fn some_addresses_are_refused_whatever_the_settings() {
        let all = AddressPolicy {
            private_networks: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
            allow_http: true,
        };
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "2001:2::1",
            "100::1",
            "5f00::1",
            "4000::1",
            "64:ff9b:1::a00:5",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "2001:0:808:808::5601:5601",
        ] {
            assert!(vet(&all, ip).is_err(), "{ip}");
        }
    }

    #[test]
    fn only_the_networks_of_the_settings_are_allowed() {
        let policy = AddressPolicy { private_networks: vec!["127.0.0.0/8".parse().unwrap()], allow_http: false };
        assert!(vet(&policy, "127.0.0.1").is_ok() && vet(&policy, "::ffff:127.0.0.1").is_ok());
        assert!(vet(&policy, "10.0.0.1").is_err() && vet(&policy, "::1").is_err());
    }

    #[test]
    fn a_network_has_one_spelling() {
        let read = |text| network(text).map(|network| network.to_string());
        assert_eq!(read("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read(" 203.0.113.7 ").as_deref(), Some("203.0.113.7/32"));
        assert_eq!(read("::ffff:203.0.113.7").as_deref(), Some("203.0.113.7/32"));
        assert_eq!(read("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!((read("::/0").as_deref(), read("here")), (Some("::/0"), None));
    }

    #[test]
    fn a_refusal_reads_as_a_sentence() {
        let refusal = vet(&AddressPolicy::default(), "10.0.0.5").unwrap_err();
        let sentence = "10.0.0.5, a private address; an operator can allow it with GATEPOST_ALLOW_PRIVATE_NETWORKS";
        assert_eq!(refusal.to_string(), sentence);
    }
}

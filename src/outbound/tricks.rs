//! Tests with hundreds of spellings of forbidden addresses, none of which may connect.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;

use super::client::Outbound;
use super::guard::Guard;
use super::lookups::Lookups;
use super::send::Request;
use crate::domain::TenantId;
use crate::domain::address::AddressPolicy;
use crate::domain::delivery::{ErrorKind, Outcome};

/// Loopback, private, link-local, metadata, carrier-grade NAT, benchmarks, documentation, multicast, reserved,
/// broadcast.
const FORBIDDEN: [[u8; 4]; 16] = [
    [127, 0, 0, 1],
    [127, 255, 255, 254],
    [0, 0, 0, 0],
    [10, 0, 0, 5],
    [172, 16, 0, 1],
    [172, 31, 255, 255],
    [192, 168, 1, 1],
    [169, 254, 169, 254],
    [100, 64, 0, 1],
    [100, 100, 100, 200],
    [168, 63, 129, 16],
    [198, 18, 0, 1],
    [203, 0, 113, 9],
    [224, 0, 0, 1],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
];

/// Host names of this machine or of a metadata service, with or without a DNS look-up.
const NAMES: [&str; 20] = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "LocalHost.",
    "api.localhost",
    "a.b.localhost.",
    "%6cocalhost",
    "%6c%6f%63%61%6c%68%6f%73%74",
    "ｌｏｃａｌｈｏｓｔ",
    "ⓛocalhost",
    "localho\u{00AD}st",
    "localhoſt",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[fe80::1]",
    "[fc00::1]",
    "[fd00:ec2::254]",
    "[ff02::1]",
    "[2001:db8::1]",
];

/// URLs that are invalid, use another scheme, or disguise their host.
const SHAPES: [&str; 24] = [
    "http://user@127.0.0.1:{port}/",
    "http://user:pw@127.0.0.1:{port}/",
    "http://nowhere.invalid@127.0.0.1:{port}/",
    "http://nowhere.invalid:80@127.0.0.1:{port}/",
    "http://nowhere.invalid%40127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@nowhere.invalid/",
    "http://nowhere.invalid\\@127.0.0.1:{port}/",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@nowhere.invalid/",
    "http://127.0.0.1:{port}?@nowhere.invalid/",
    "  http://127.0.0.1:{port}/  ",
    "ht\ttp://127.0.0.1:{port}/",
    "http://127.0.\n0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "ws://127.0.0.1:{port}/",
    "data:text/plain,x",
    "javascript:alert(1)",
];

/// Returns all known spellings of an IPv4 address as a URL host.
fn spellings(octets: [u8; 4]) -> Vec<String> {
    let [a, b, c, d] = octets;
    let number = u32::from_be_bytes(octets);
    let (low, lower) = (number & 0x00ff_ffff, number & 0xffff);
    let (high, rest) = (number >> 16, number & 0xffff);
    let plain = format!("{a}.{b}.{c}.{d}");
    let wide = |zero: char| plain.chars().map(|c| shifted(c, zero)).collect::<String>();
    vec![
        plain.clone(),
        format!("{plain}."),
        format!("{number}"),
        format!("{number:#x}"),
        format!("{number:#X}").replace("0X", "0x"),
        format!("0{number:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("000{a:o}.{b}.{c:#x}.{d}"),
        format!("{a}.{low}"),
        format!("{a}.{b}.{lower}"),
        format!("{a:#x}.{low:#x}"),
        wide('\u{ff10}'),
        plain.replace('.', "\u{3002}"),
        plain.replace('.', "\u{ff0e}"),
        plain.replace('.', "%2e"),
        plain.chars().map(|c| format!("%{:02x}", u32::from(c))).collect(),
        format!("[::ffff:{plain}]"),
        format!("[::ffff:{high:x}:{rest:x}]"),
        format!("[0:0:0:0:0:ffff:{plain}]"),
        format!("[::{plain}]"),
        format!("[::ffff:0:{plain}]"),
        format!("[64:ff9b::{high:x}:{rest:x}]"),
        format!("[64:ff9b:1::{high:x}:{rest:x}]"),
        format!("[2002:{high:x}:{rest:x}::]"),
        format!("[2001:0:808:808::{:x}:{:x}]", !high & 0xffff, !rest & 0xffff),
        format!("[2606:4700::5efe:{high:x}:{rest:x}]"),
    ]
}

/// Returns a digit in another script with this zero. Other characters stay.
fn shifted(c: char, zero: char) -> char {
    c.to_digit(10).and_then(|digit| char::from_u32(u32::from(zero) + digit)).unwrap_or(c)
}

fn urls(port: u16) -> BTreeSet<String> {
    let hosts = FORBIDDEN.into_iter().flat_map(spellings).chain(NAMES.map(str::to_owned));
    let of_hosts = hosts.map(|host| format!("http://{host}:{port}/hook"));
    of_hosts.chain(SHAPES.iter().map(|shape| shape.replace("{port}", &port.to_string()))).collect()
}

/// Counts connections to this machine, over IPv4 and IPv6.
async fn listen() -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind(("::1", port)).await.ok();
    for listener in std::iter::once(first).chain(second) {
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
    }
    (port, count)
}

async fn send(outbound: &Outbound, url: &str) -> Outcome {
    let request = Request {
        tenant: TenantId(1),
        url: url.to_owned(),
        headers: Vec::new(),
        body: b"{}".to_vec(),
        deadline: Duration::from_secs(5),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    outbound.send(request).await
}

#[tokio::test]
async fn no_spelling_of_a_forbidden_address_connects() {
    let (port, count) = listen().await;
    let urls = urls(port);
    assert!(300 <= urls.len(), "{}", urls.len());
    let strict = Outbound::new(AddressPolicy { private_networks: Vec::new(), allow_http: true }).unwrap();
    for url in &urls {
        let outcome = send(&strict, url).await;
        let kind = outcome.failure.as_ref().map(|failure| failure.kind);
        let is_refused = matches!(kind, Some(ErrorKind::BlockedAddress | ErrorKind::Protocol | ErrorKind::Dns));
        assert!(is_refused && outcome.status.is_none(), "{url}: {outcome:?}");
        assert_eq!(outcome.timings.connect_us, None, "{url} has connected");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);

    // The listener can be reached if the policy allows it, so it is the guard that refuses.
    let open = AddressPolicy { private_networks: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true };
    let open = Outbound::new(open).unwrap();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"] {
        let before = count.load(Ordering::SeqCst);
        let outcome = send(&open, &format!("http://{host}:{port}/hook")).await;
        assert!(outcome.timings.connect_us.is_some(), "{host}: {outcome:?}");
        assert!(before < count.load(Ordering::SeqCst), "{host}");
    }
}

#[test]
fn no_dns_result_with_a_forbidden_address_is_used() {
    let guard = Guard::new(Arc::new(AddressPolicy::default()), Lookups::default());
    let public: [IpAddr; 2] = ["1.1.1.1".parse().unwrap(), "2606:4700:4700::1111".parse().unwrap()];
    let at = |ip: IpAddr| SocketAddr::new(ip, 0);
    let mut answers = 0;
    for octets in FORBIDDEN {
        let plain = Ipv4Addr::from(octets);
        let in_six =
            spellings(octets).into_iter().filter_map(|text| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
        for forbidden in std::iter::once(IpAddr::from(plain)).chain(in_six) {
            for answer in [
                vec![at(forbidden)],
                vec![at(forbidden), at(public[0]), at(public[1])],
                vec![at(public[0]), at(forbidden), at(public[1])],
                vec![at(public[1]), at(public[0]), at(forbidden)],
            ] {
                answers += 1;
                assert!(guard.vetted(answer).is_err(), "{forbidden}");
            }
        }
    }
    assert!(300 <= answers, "{answers}");
    assert_eq!(guard.vetted(public.map(at).to_vec()).unwrap().len(), 2);
}

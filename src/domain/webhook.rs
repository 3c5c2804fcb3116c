//! Parts of a webhook: its URL, the event types it receives, the format of its requests, its state.

use std::collections::BTreeMap;
use std::fmt;

use url::{Host, Url};

use super::address::AddressPolicy;
use super::error::Rejection;

/// Target of deliveries: an absolute http(s) URL without an address that the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

impl EndpointUrl {
    const MAX_LENGTH: usize = 2048;

    /// Checks syntax and literal addresses. The addresses of a host name are checked at each attempt.
    pub fn parse(text: &str, policy: &AddressPolicy) -> Result<Self, Rejection> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Rejection::required());
        }
        if Self::MAX_LENGTH < text.len() {
            return Err(Rejection::new("too_long", "must be at most 2048 characters"));
        }
        let mut url = Url::parse(text)
            .map_err(|_| Rejection::new("url", "must be an absolute URL, like https://example.com/webhooks"))?;
        match url.scheme() {
            "https" => {}
            "http" if policy.allow_http => {}
            "http" => {
                let detail = "must begin with https:// (an operator can allow http with GATEPOST_ALLOW_HTTP_WEBHOOKS)";
                return Err(Rejection::new("scheme", detail));
            }
            _ => return Err(Rejection::new("scheme", "must begin with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Rejection::new("userinfo", "must not contain a user name or password"));
        }
        if url.port() == Some(0) {
            return Err(Rejection::new("url", "must not have the port 0"));
        }
        url.set_fragment(None);
        let url = Self(url);
        if let Some(address) = url.literal_address() {
            let refused = |refusal| Rejection::new("blocked_address", format!("its host is {refusal}"));
            policy.vet(address).map_err(refused)?;
        }
        Ok(url)
    }

    /// Returns the address that the URL names without a lookup; `localhost` counts as one (RFC 6761 §6.3).
    pub fn literal_address(&self) -> Option<std::net::IpAddr> {
        match self.0.host()? {
            Host::Ipv4(ip) => Some(ip.into()),
            Host::Ipv6(ip) => Some(ip.into()),
            Host::Domain(name) => {
                let name = name.trim_end_matches('.');
                let is_local = name == "localhost" || name.ends_with(".localhost");
                is_local.then_some(std::net::Ipv4Addr::LOCALHOST.into())
            }
        }
    }

    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// True for a type: `^[a-z0-9_]+(\.[a-z0-9_]+){0,7}$`, ignoring case, at most 128 characters.
fn is_type(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text.len() <= 128 && text.split('.').all(is_part) && text.split('.').count() <= 8
}

/// Type of an event in its published spelling: `order.created`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType(String);

/// Groups of types that only Gatepost publishes.
const RESERVED: [&str; 2] = ["api_key.", "webhook."];

impl EventType {
    /// Default type of a test event. No other type of Gatepost's own can be sent as a test.
    pub const TEST: &str = "webhook.test";

    /// Parses a type like [`EventType::parse`], and refuses the groups that only Gatepost publishes.
    pub fn parse_of_others(text: &str) -> Result<Self, Rejection> {
        let lower = text.to_ascii_lowercase();
        match RESERVED.into_iter().find(|group| lower.starts_with(group)) {
            Some(group) => {
                let detail = format!("begins with {group} which is reserved for events that Gatepost publishes itself");
                Err(Rejection::new("reserved", detail))
            }
            None => Self::parse(text),
        }
    }

    /// Parses the type of a test event: [`EventType::TEST`] or a type that a tenant may publish.
    pub fn parse_test(text: &str) -> Result<Self, Rejection> {
        if text == Self::TEST { Self::parse(text) } else { Self::parse_of_others(text) }
    }

    pub fn parse(text: &str) -> Result<Self, Rejection> {
        match text {
            "" => Err(Rejection::required()),
            _ if is_type(text) => Ok(Self(text.to_owned())),
            _ => {
                let detail = "must be 1 to 8 parts of letters, digits and _, joined by dots, like order.created (128 characters at most)";
                Err(Rejection::new("event_type", detail))
            }
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns every pattern that matches this type: `*`, `a.*`, `a.b.*` and `a.b.c` for `a.b.c`.
    pub fn patterns(&self) -> Vec<String> {
        let stems = self.0.match_indices('.').filter_map(|(dot, _)| self.0.get(..dot));
        let wild = stems.map(|stem| format!("{stem}.*"));
        std::iter::once("*".to_owned()).chain(wild).chain(std::iter::once(self.0.clone())).collect()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Subscription of a webhook: a type, a group of types (`order.*`), or everything (`*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPattern(String);

impl EventPattern {
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        let stem = text.strip_suffix(".*").unwrap_or(text);
        match text {
            "" => Err(Rejection::required()),
            "*" => Ok(Self(text.to_owned())),
            _ if text.len() <= 128 && is_type(stem) => Ok(Self(text.to_owned())),
            _ => Err(Rejection::new(
                "event_pattern",
                "must be an event type like order.created, a group like order.*, or *",
            )),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn matches(&self, kind: &EventType) -> bool {
        kind.patterns().contains(&self.0)
    }
}

/// Checks a list of patterns: 1 to 100 after repeated ones are dropped. Keeps their order.
pub fn subscriptions(patterns: Vec<EventPattern>) -> Result<Vec<String>, Rejection> {
    let mut kept: Vec<String> = Vec::new();
    for pattern in patterns {
        if !kept.contains(&pattern.0) {
            kept.push(pattern.0);
        }
    }
    match kept.len() {
        0 => Err(Rejection::new("required", "must name at least one event type, or *")),
        1..=100 => Ok(kept),
        _ => Err(Rejection::new("too_many", "must be at most 100 event types")),
    }
}

crate::text_enum! {
    /// Format of a request body, made from the published payload.
    pub enum PayloadFormat {
        Standard = "standard",
        Event = "event",
        Raw = "raw",
        CloudEvents = "cloudevents",
    }
}

crate::text_enum! {
    /// Form of `X-Webhook-Signature`: `sha256=<hex>` or the bare hex.
    pub enum SignatureStyle {
        Prefixed = "prefixed",
        Hex = "hex",
    }
}

crate::text_enum! {
    /// State of a webhook, derived from its row.
    pub enum WebhookState {
        Active = "active",
        /// Stopped by a user.
        Paused = "paused",
        /// All attempts since the last success have failed.
        Failing = "failing",
        /// Stopped by the server, for the reason in `disabled_reason`.
        Disabled = "disabled",
    }
}

impl WebhookState {
    pub fn derive(is_active: bool, is_failing: bool, is_disabled: bool) -> Self {
        match (is_active, is_failing, is_disabled) {
            (true, false, _) => Self::Active,
            (true, true, _) => Self::Failing,
            (false, _, true) => Self::Disabled,
            (false, _, false) => Self::Paused,
        }
    }
}

/// Checks the time for one attempt, from the name lookup to the last byte: 1 to 60 seconds.
pub fn timeout_seconds(seconds: i64) -> Result<i64, Rejection> {
    if (1..=60).contains(&seconds) { Ok(seconds) } else { Err(Rejection::new("range", "must be from 1 to 60 seconds")) }
}

/// Checks the cap on requests in flight to one webhook: 1 to 100.
pub fn max_in_flight(count: i64) -> Result<i64, Rejection> {
    if (1..=100).contains(&count) { Ok(count) } else { Err(Rejection::new("range", "must be from 1 to 100")) }
}

/// Checks the cap on requests to one webhook that start within one second: 1 to 1,000.
pub fn rate_per_second(count: i64) -> Result<i64, Rejection> {
    if (1..=1_000).contains(&count) { Ok(count) } else { Err(Rejection::new("range", "must be from 1 to 1000")) }
}

/// Text shown instead of a secret value. In a request it means that the value stays as it is.
pub const MASK: &str = "••••";

/// Checks the headers that a webhook adds: at most 20, names in lower case, none that Gatepost or HTTP itself sets. A
/// value of [`MASK`] becomes `None`.
pub fn custom_headers(headers: &BTreeMap<String, String>) -> Result<BTreeMap<String, Option<String>>, Rejection> {
    /// Hop-by-hop headers (RFC 9110 §7.6.1), headers that frame or route a request, and headers that Gatepost sets.
    const RESERVED: [&str; 15] = [
        "host",
        "connection",
        "keep-alive",
        "content-length",
        "content-type",
        "content-encoding",
        "date",
        "expect",
        "http2-settings",
        "transfer-encoding",
        "te",
        "trailer",
        "trailers",
        "upgrade",
        "user-agent",
    ];
    if 20 < headers.len() {
        return Err(Rejection::new("too_many", "must be at most 20"));
    }
    let mut kept = BTreeMap::new();
    for (name, value) in headers {
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let is_token = (1..=100).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        let is_text = (1..=1000).contains(&value.len()) && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if !is_token || !(is_text || value == MASK) {
            return Err(Rejection::new(
                "header",
                "must have names of letters, digits and -, and values of visible ASCII characters",
            ));
        }
        if RESERVED.contains(&name.as_str())
            || name.starts_with("webhook-")
            || name.starts_with("x-webhook-")
            || name.starts_with("proxy-")
        {
            return Err(Rejection::new("header", format!("must not set {name}: it is set by Gatepost or by HTTP")));
        }
        if kept.insert(name.clone(), (value != MASK).then(|| value.to_owned())).is_some() {
            return Err(Rejection::new("header", format!("must not name {name} twice")));
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str, policy: &AddressPolicy) -> &'static str {
        EndpointUrl::parse(text, policy).err().map_or("ok", |rejection| rejection.code)
    }

    #[test]
    fn an_endpoint_is_a_public_https_url() {
        let policy = AddressPolicy::default();
        let table = [
            ("https://myapp.com/webhooks/orders", "ok"),
            ("https://example.com:8443/x?y=1", "ok"),
            ("https://1.1.1.1/", "ok"),
            ("", "required"),
            ("myapp.com/webhooks", "url"),
            ("//myapp.com", "url"),
            ("https://", "url"),
            ("https://example.com:0/", "url"),
            ("ftp://example.com", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("javascript:alert(1)", "scheme"),
            ("http://example.com", "scheme"),
            ("https://user@example.com/", "userinfo"),
            ("https://user:pw@example.com/", "userinfo"),
            ("https://example.com:80@127.0.0.1/", "userinfo"),
            ("https://127.0.0.1/", "blocked_address"),
            ("https://2130706433/", "blocked_address"),
            ("https://0x7f.1/", "blocked_address"),
            ("https://0177.0.0.1/", "blocked_address"),
            ("https://127.1/", "blocked_address"),
            ("https://127。0。0。1/", "blocked_address"),
            ("https://①②⑦.⓪.⓪.①/", "blocked_address"),
            ("https://[::1]/", "blocked_address"),
            ("https://[::ffff:10.0.0.5]/", "blocked_address"),
            ("https://localhost/", "blocked_address"),
            ("https://LOCALHOST./", "blocked_address"),
            ("https://api.localhost:8080/", "blocked_address"),
            ("https://169.254.169.254/latest/meta-data/", "blocked_address"),
            ("https://0/", "blocked_address"),
        ];
        for (text, expected) in table {
            assert_eq!(code(text, &policy), expected, "{text}");
        }
        assert_eq!(code(&format!("https://example.com/{}", "a".repeat(2040)), &policy), "too_long");
    }

    #[test]
    fn an_operator_can_allow_http_and_private_networks() {
        let policy = AddressPolicy { private_networks: vec!["127.0.0.0/8".parse().unwrap()], allow_http: true };
        assert_eq!(code("http://127.0.0.1:9999/hook", &policy), "ok");
        assert_eq!(code("http://localhost:9999/hook", &policy), "ok");
        assert_eq!(code("http://10.0.0.1/hook", &policy), "blocked_address");
        assert_eq!(code("ftp://127.0.0.1/hook", &policy), "scheme");
    }

    #[test]
    fn types_and_patterns_follow_their_grammar() {
        for text in ["order.created", "a", "Order.Created", "a.b.c.d.e.f.g.h", "x_1.y_2"] {
            assert!(EventType::parse(text).is_ok() && EventPattern::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "order created",
            "order-created",
            "a.b.c.d.e.f.g.h.i",
            "*",
            "a.*",
            "é",
            &"a".repeat(129),
        ] {
            assert!(EventType::parse(text).is_err(), "{text}");
        }
        for text in ["", "**", "*.created", "a.*.b", "a*", ".*", "a.*.*"] {
            assert!(EventPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_type_is_matched_by_itself_its_groups_and_the_star() {
        let kind = EventType::parse("order.item.added").unwrap();
        assert_eq!(kind.patterns(), ["*", "order.*", "order.item.*", "order.item.added"]);
        let matches = |pattern: &str| EventPattern::parse(pattern).unwrap().matches(&kind);
        assert!(matches("*") && matches("order.*") && matches("order.item.added"));
        assert!(!matches("order.item") && !matches("order") && !matches("order.item.added.*") && !matches("ord.*"));
    }

    #[test]
    fn custom_headers_leave_the_protocol_s_own_alone() {
        let check = |name: &str, value: &str| custom_headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert_eq!(check("X-Team", "a b").unwrap(), BTreeMap::from([("x-team".to_owned(), Some("a b".to_owned()))]));
        assert_eq!(check("x-team", MASK).unwrap(), BTreeMap::from([("x-team".to_owned(), None)]));
        for (name, value) in [
            ("Host", "x"),
            ("Content-Length", "0"),
            ("Connection", "x"),
            ("Keep-Alive", "x"),
            ("Proxy-Authorization", "x"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("webhook-id", "x"),
            ("X-Webhook-Signature", "x"),
            ("a b", "x"),
            ("", "x"),
            ("x", "a\r\nb"),
            ("x", "é"),
            ("x", " "),
        ] {
            assert!(check(name, value).is_err(), "{name}: {value}");
        }
        let twice = BTreeMap::from([("X-A".to_owned(), "1".to_owned()), ("x-a".to_owned(), "2".to_owned())]);
        assert!(custom_headers(&twice).is_err());
    }

    #[test]
    fn doubled_subscriptions_are_kept_once_and_none_are_refused() {
        let parse = |text: &str| EventPattern::parse(text).unwrap();
        assert_eq!(subscriptions(vec![parse("a"), parse("b.*"), parse("a")]).unwrap(), ["a", "b.*"]);
        assert_eq!(subscriptions(Vec::new()).unwrap_err().code, "required");
    }
}

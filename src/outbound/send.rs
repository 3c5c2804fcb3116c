//! Sending of one HTTP request within a deadline. The result is always an [`Outcome`], never an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};

use super::client::Outbound;
use super::stopwatch::Stopwatch;
use super::{fault, lookups};
use crate::domain::TenantId;
use crate::domain::delivery::{ErrorKind, Outcome};
use crate::domain::retry::LONGEST_ASKED as MAX_WAIT;
use crate::domain::webhook::EndpointUrl;

/// Maximum number of bytes read of a response body.
const MAX_READ: usize = 64 * 1024;
/// Maximum number of bytes stored of a response body.
const MAX_KEPT: usize = 16 * 1024;
/// Maximum number of bytes stored of a response's headers.
const MAX_HEADER_BYTES: usize = 32 * 1024;

/// POST request with everything that is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// Tenant of the request. Limits on DNS look-ups apply per tenant.
    pub tenant: TenantId,
    /// URL as stored. It is parsed and vetted again for every attempt, since the policy may have changed.
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Time limit from the DNS look-up to the last byte of the response body.
    pub deadline: Duration,
    /// Time of sending (UTC), needed to read a `Retry-After` date.
    pub now: DateTime<Utc>,
}

impl Outbound {
    /// Sends a request and returns the outcome.
    pub async fn send(&self, request: Request) -> Outcome {
        let (started, watch) = (Instant::now(), Arc::new(Stopwatch::default()));
        let (deadline, tenant) = (request.deadline, request.tenant);
        let exchange = watch.during(lookups::for_tenant(tenant, self.exchange(request, &watch, started)));
        let mut outcome = match tokio::time::timeout(deadline, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Outcome::failed(ErrorKind::Timeout, format!("no complete answer within {} seconds", deadline.as_secs()))
            }
        };
        outcome.duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        outcome.timings = watch.timings();
        outcome.remote_address = outcome.remote_address.or_else(|| watch.address());
        outcome
    }

    async fn exchange(&self, request: Request, watch: &Stopwatch, started: Instant) -> Outcome {
        let url = match EndpointUrl::parse(&request.url, &self.policy) {
            Ok(url) => url,
            Err(rejection) if rejection.code == "blocked_address" => {
                return Outcome::failed(ErrorKind::BlockedAddress, rejection.detail);
            }
            Err(rejection) => return Outcome::failed(ErrorKind::Protocol, format!("the URL {}", rejection.detail)),
        };
        let Some(headers) = header_map(&request.headers) else {
            return Outcome::failed(ErrorKind::Protocol, "a header of the request can't be written as HTTP");
        };
        if let Some(address) = url.literal_address() {
            watch.aims_at(address);
        }
        let sent = self.client.post(url.url().clone()).headers(headers).body(request.body).send().await;
        match sent {
            Ok(response) => {
                watch.answered(started.elapsed());
                read(response, request.now).await
            }
            Err(error) => Outcome { failure: Some(fault::explain(&error)), ..Outcome::default() },
        }
    }
}

fn header_map(headers: &[(String, String)]) -> Option<HeaderMap> {
    headers
        .iter()
        .map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, HeaderValue::from_str(value).ok()?)))
        .collect()
}

/// Reads a response up to the limits. A body beyond them is a failure, whatever the status. A body that ends early or
/// breaks the protocol fails only without a 2xx status: otherwise the receiver has already accepted the event.
async fn read(mut response: Response, now: DateTime<Utc>) -> Outcome {
    let mut outcome = Outcome {
        status: Some(response.status().as_u16()),
        retry_after: retry_after(response.headers(), now),
        remote_address: response.remote_addr().map(|address| address.ip()),
        ..Outcome::default()
    };
    outcome.response_headers = kept_headers(response.headers());
    let is_accepted = response.status().is_success();
    let (mut kept, mut total) = (Vec::new(), 0_usize);
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                total = total.saturating_add(chunk.len());
                let room = MAX_KEPT.saturating_sub(kept.len()).min(chunk.len());
                kept.extend_from_slice(chunk.get(..room).unwrap_or_default());
            }
            Ok(None) => break,
            Err(_) if is_accepted => break,
            Err(error) => {
                outcome.failure = Some(fault::explain(&error));
                break;
            }
        }
        if MAX_READ < total {
            outcome.failure = Outcome::failed(ErrorKind::ResponseTooLarge, "answered with more than 64 KiB").failure;
            break;
        }
    }
    outcome.response_body = Some(printable(&kept));
    outcome
}

/// Returns the first header lines that fit into the limit.
fn kept_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut room = MAX_HEADER_BYTES;
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        // 4 bytes for the colon, the space and the line break.
        room = room.checked_sub(name.as_str().len() + value.len() + 4)?;
        Some((name.to_string(), printable(value.as_bytes())))
    };
    headers.iter().map_while(line).collect()
}

/// Returns text that Postgres can store: valid UTF-8 without NUL.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

/// Parses `Retry-After` as seconds or as an HTTP date (RFC 9110, sections 5.6.7 and 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<TimeDelta> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = seconds(value).or_else(|| Some(date(value)? - now))?;
    Some(wait.clamp(TimeDelta::zero(), MAX_WAIT))
}

/// Parses seconds of any size. Fractions are rounded up, negative numbers become zero.
fn seconds(text: &str) -> Option<TimeDelta> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u32>().ok() };
    let rounded = whole.map(|whole| i64::from(whole) + i64::from(part.bytes().any(|digit| digit != b'0')));
    Some(if is_negative { TimeDelta::zero() } else { rounded.map_or(MAX_WAIT, TimeDelta::seconds) })
}

/// Parses an IMF-fixdate, RFC 850 or asctime date. Some receivers send an e-mail date with a zone, so that is accepted
/// too.
fn date(text: &str) -> Option<DateTime<Utc>> {
    let of_http = httpdate::parse_http_date(text).ok().map(DateTime::from);
    of_http.or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|at| at.with_timezone(&Utc)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::lookups::Lookups;
    use super::*;
    use crate::domain::address::AddressPolicy;

    fn outbound() -> Outbound {
        let private_networks = vec!["127.0.0.0/8".parse().unwrap()];
        Outbound::new(AddressPolicy { private_networks, allow_http: true }).unwrap()
    }

    fn request(url: &str, deadline_ms: u64) -> Request {
        Request {
            tenant: TenantId(1),
            url: url.to_owned(),
            headers: vec![("x-test".into(), "1".into())],
            body: b"{}".to_vec(),
            deadline: Duration::from_millis(deadline_ms),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    /// Sends one request to a receiver that writes `answer` a number of `times`, then hangs up or stays silent.
    async fn against(answer: Vec<u8>, times: usize, hangs_up: bool) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer).await;
            for _ in 0..times {
                if stream.write_all(&answer).await.is_err() {
                    return;
                }
            }
            if !hangs_up {
                std::future::pending::<()>().await;
            }
        });
        let deadline = if hangs_up { 20_000 } else { 700 };
        let outcome = outbound().send(request(&url, deadline)).await;
        receiver.abort();
        outcome
    }

    fn kind(outcome: &Outcome) -> Option<ErrorKind> {
        outcome.failure.as_ref().map(|failure| failure.kind)
    }

    #[tokio::test]
    async fn a_response_is_reported_as_received() {
        let answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nX-A: b\r\nContent-Length: 4\r\n\r\na\0b\xff".to_vec();
        let outcome = against(answer, 1, true).await;
        assert_eq!((outcome.status, outcome.retry_after), (Some(503), Some(TimeDelta::seconds(17))));
        assert_eq!(outcome.response_body.as_deref(), Some("a\u{fffd}b\u{fffd}"));
        assert!(outcome.response_headers.contains(&("x-a".into(), "b".into())));
        assert_eq!(outcome.remote_address, Some("127.0.0.1".parse().unwrap()));
        assert!(outcome.failure.is_none() && !outcome.is_success());
        let timings = outcome.timings;
        assert!(timings.dns_us.is_none() && timings.connect_us.is_some(), "an address needs no look-up: {timings:?}");
        assert!(timings.connect_us < timings.first_byte_us, "{timings:?}");
    }

    #[tokio::test]
    async fn phases_are_timed_and_a_reused_connection_has_fewer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/hook", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while 0 < stream.read(&mut buffer).await.unwrap() {
                tokio::time::sleep(Duration::from_millis(30)).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        });
        let private_networks = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let outbound = Outbound::new(AddressPolicy { private_networks, allow_http: true }).unwrap();

        let first = outbound.send(request(&url, 5_000)).await;
        let second = outbound.send(request(&url, 5_000)).await;

        let timings = first.timings;
        assert!(timings.dns_us.is_some() && timings.connect_us.is_some(), "{first:?}");
        assert!(timings.first_byte_us.is_some_and(|us| 30_000 <= us), "{timings:?}");
        assert!(timings.dns_us.unwrap() + timings.connect_us.unwrap() < timings.first_byte_us.unwrap(), "{timings:?}");
        assert_eq!((second.timings.dns_us, second.timings.connect_us), (None, None), "{second:?}");
        assert!(second.timings.first_byte_us.is_some() && second.remote_address.is_some(), "{second:?}");
    }

    #[tokio::test]
    async fn a_redirect_is_reported_and_not_followed() {
        let outcome = against(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec(),
            1,
            true,
        )
        .await;
        assert_eq!((outcome.status, kind(&outcome)), (Some(302), None));
    }

    #[tokio::test]
    async fn silent_and_slow_receivers_run_into_the_deadline() {
        assert_eq!(kind(&against(Vec::new(), 0, false).await), Some(ErrorKind::Timeout));
        let outcome = against(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec(), 1, false).await;
        assert_eq!(kind(&outcome), Some(ErrorKind::Timeout));
        assert!((700..20_000).contains(&outcome.duration_ms), "{}", outcome.duration_ms);
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_off_and_its_beginning_kept() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec();
        answer.extend(vec![b'x'; 20_000]);
        let outcome = against(answer, 100_000, true).await;
        assert_eq!(kind(&outcome), Some(ErrorKind::ResponseTooLarge));
        assert_eq!(outcome.response_body.unwrap().len(), MAX_KEPT);
    }

    #[tokio::test]
    async fn header_lines_beyond_32_kib_are_dropped_and_more_than_1000_are_refused() {
        let head = |count: usize, value: &str| {
            let lines: String = (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect();
            format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n").into_bytes()
        };
        let outcome = against(head(10, &"a".repeat(8_000)), 1, true).await;
        assert!(outcome.is_success(), "{outcome:?}");
        assert_eq!(outcome.response_headers.len(), 4, "those that fit into 32 KiB");
        assert!(against(head(900, "1"), 1, true).await.is_success());
        assert_eq!(kind(&against(head(1_100, "1"), 1, true).await), Some(ErrorKind::ResponseTooLarge));
    }

    #[tokio::test]
    async fn invalid_http_and_early_ends_are_protocol_errors() {
        assert_eq!(kind(&against(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), 1, true).await), Some(ErrorKind::Protocol));
        assert_eq!(kind(&against(Vec::new(), 0, true).await), Some(ErrorKind::Protocol));
        let cut = against(b"HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nabc".to_vec(), 1, true).await;
        assert_eq!((cut.status, kind(&cut)), (Some(500), Some(ErrorKind::Protocol)));
        let cut = against(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec(), 1, true).await;
        assert!(cut.is_success() && cut.response_body.as_deref() == Some("abc"), "accepted, and cut off: {cut:?}");
    }

    #[tokio::test]
    async fn a_closed_port_is_a_refused_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let outcome = outbound().send(request(&format!("http://127.0.0.1:{port}/"), 20_000)).await;
        let failure = outcome.failure.as_ref().unwrap();
        assert_eq!((failure.kind, failure.sentence.as_str()), (ErrorKind::Connect, "the connection was refused"));
        assert_eq!(outcome.remote_address, Some("127.0.0.1".parse().unwrap()), "what was tried is told");
    }

    #[tokio::test]
    async fn a_receiver_without_tls_fails_the_handshake() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            std::future::pending::<()>().await;
        });
        let outcome = outbound().send(request(&url, 20_000)).await;
        assert_eq!(kind(&outcome), Some(ErrorKind::Tls), "{outcome:?}");
    }

    #[tokio::test]
    async fn many_hanging_names_fail_at_once_and_delay_no_other_tenant() {
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let lookups = Lookups::new(move |name| {
            if name.ends_with(".silent.example") {
                let _ = gone.lock().unwrap().recv();
            }
            Ok(vec!["127.0.0.1:0".parse().unwrap()])
        });
        let private_networks = vec!["127.0.0.0/8".parse().unwrap()];
        let outbound = Outbound::with(AddressPolicy { private_networks, allow_http: true }, lookups).unwrap();
        for n in 0..16 {
            let url = format!("http://host-{n}.silent.example:9/");
            assert_eq!(kind(&outbound.send(request(&url, 20)).await), Some(ErrorKind::Timeout));
        }

        let crowded = outbound.send(request("http://one-more.silent.example:9/", 20_000)).await;
        let failure = crowded.failure.unwrap();
        assert_eq!(failure.kind, ErrorKind::Dns);
        assert!(failure.sentence.contains("too many look-ups"), "{}", failure.sentence);
        let other = Request { tenant: TenantId(2), ..request("http://other.example:9/", 20_000) };
        assert_eq!(kind(&outbound.send(other).await), Some(ErrorKind::Connect), "resolved, and nothing listens there");
        drop(go);
    }

    #[tokio::test]
    async fn a_private_address_is_refused_by_name_and_by_number() {
        let strict = Outbound::new(AddressPolicy { private_networks: Vec::new(), allow_http: true }).unwrap();
        for url in ["http://127.0.0.1:9/", "http://localhost:9/", "http://[::ffff:127.0.0.1]:9/"] {
            let failure = strict.send(request(url, 20_000)).await.failure.unwrap();
            assert_eq!(failure.kind, ErrorKind::BlockedAddress, "{url}");
            assert!(failure.sentence.contains("a loopback address; an operator can allow it"), "{}", failure.sentence);
        }
    }

    #[test]
    fn a_retry_after_may_be_a_date() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let wait = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]), now)
        };
        let minute = Some(TimeDelta::seconds(60));
        for date in [
            "Thu, 01 Jan 2026 00:01:00 GMT",
            "Thursday, 01-Jan-26 00:01:00 GMT",
            "Thu Jan  1 00:01:00 2026",
            " Thu, 01 Jan 2026 00:01:00 +0000 ",
        ] {
            assert_eq!(wait(date), minute, "{date}");
        }
        assert_eq!(wait("Wednesday, 31-Dec-25 00:01:00 GMT"), Some(TimeDelta::zero()));
    }

    #[test]
    fn a_retry_after_may_be_any_number() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let wait = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]), now)
        };
        for (text, seconds) in [("120", 120), (" 120 ", 120), ("0", 0), ("-1", 0), ("-0.5", 0), ("+7", 7)] {
            assert_eq!(wait(text), Some(TimeDelta::seconds(seconds)), "{text}");
        }
        for (text, seconds) in [("1.5", 2), ("2.0", 2), (".5", 1), ("3.", 3)] {
            assert_eq!(wait(text), Some(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in ["999999999999", "99999999999999999999999999", "4294967296", "9999999999.9"] {
            assert_eq!(wait(text), Some(MAX_WAIT), "{text}");
        }
        for text in ["soon", "", "1,5", "1e3", "5 s", "-", ".", "0x10", "Thu, 01 Jan 2026"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }
}

//! The states of a delivery, and what came of one attempt.

use std::net::IpAddr;

use chrono::TimeDelta;

crate::text_enum! {
    /// Where one event stands on its way to one webhook.
    pub enum DeliveryState {
        /// Waiting for its first attempt, or in it.
        Pending = "pending",
        /// An attempt has failed; another one will follow.
        Retrying = "retrying",
        Delivered = "delivered",
        /// No attempt is left.
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl DeliveryState {
    /// Whether there is nothing left to do.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

crate::text_enum! {
    /// Why an attempt got no usable answer.
    pub enum ErrorKind {
        Dns = "dns",
        Connect = "connect",
        Tls = "tls",
        Timeout = "timeout",
        BlockedAddress = "blocked_address",
        ResponseTooLarge = "response_too_large",
        Protocol = "protocol",
    }
}

crate::text_enum! {
    /// How a receiver answered, by the hundred of its status.
    pub enum StatusClass {
        Success = "2xx",
        Redirect = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// It was asked, and did not answer.
        None = "none",
    }
}

impl StatusClass {
    /// The first status of the class and the first after it; nothing where there was no answer.
    pub const fn bounds(self) -> Option<(i16, i16)> {
        match self {
            Self::Success => Some((200, 300)),
            Self::Redirect => Some((300, 400)),
            Self::ClientError => Some((400, 500)),
            Self::ServerError => Some((500, 600)),
            Self::None => None,
        }
    }
}

/// How long the phases of an attempt took, in microseconds. A request on a connection that was open already has neither
/// look-up nor connecting, one without an answer no first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    pub dns_us: Option<i32>,
    /// With the TLS handshake, where there is one.
    pub connect_us: Option<i32>,
    /// From the attempt's beginning until the head of the answer was there.
    pub first_byte_us: Option<i32>,
}

/// Why an attempt failed other than by its status: a kind, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    pub sentence: String,
}

/// What came of one HTTP request. A refused connection is news, not a fault.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Absent where no answer came.
    pub status: Option<u16>,
    pub response_headers: Vec<(String, String)>,
    /// At most the first 16 KiB, with what is no UTF-8 replaced.
    pub response_body: Option<String>,
    pub failure: Option<Failure>,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<TimeDelta>,
    pub duration_ms: i64,
    pub timings: Timings,
    /// The address that was connected to, or tried.
    pub remote_address: Option<IpAddr>,
}

impl Outcome {
    /// An attempt that got no answer.
    pub fn failed(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self { failure: Some(Failure { kind, sentence: sentence.into() }), ..Self::default() }
    }

    /// An answer with a status of 2xx that came whole.
    pub fn is_success(&self) -> bool {
        self.failure.is_none() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// What went wrong, in words; nothing for a success.
    pub fn error(&self) -> Option<String> {
        match (&self.failure, self.status) {
            (Some(failure), _) => Some(failure.sentence.clone()),
            (None, _) if self.is_success() => None,
            (None, Some(status @ 300..400)) => Some(format!("answered {status}: redirects are not followed")),
            (None, Some(410)) => Some("answered 410: the endpoint is gone for good".to_owned()),
            (None, Some(status)) => Some(format!("answered {status}")),
            (None, None) => Some("got no answer".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_of_2xx_is_a_success() {
        let answered = |status| Outcome { status: Some(status), ..Outcome::default() };
        assert!(answered(200).is_success() && answered(299).is_success() && answered(204).error().is_none());
        assert!(!answered(199).is_success() && !answered(301).is_success() && !answered(404).is_success());
        let cut = Outcome { status: Some(200), ..Outcome::failed(ErrorKind::ResponseTooLarge, "too large") };
        assert!(!cut.is_success());
        assert_eq!(answered(302).error().unwrap(), "answered 302: redirects are not followed");
    }
}

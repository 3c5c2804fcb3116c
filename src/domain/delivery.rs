//! States of a delivery, and the outcome of one attempt.

use std::net::IpAddr;

use chrono::TimeDelta;

crate::text_enum! {
    /// State of an event's delivery to one webhook.
    pub enum DeliveryState {
        /// Waiting for its first attempt, or in it.
        Pending = "pending",
        /// An attempt has failed; another one will follow.
        Retrying = "retrying",
        /// The webhook accepted it.
        Delivered = "delivered",
        /// The last attempt has failed.
        Failed = "failed",
        /// A user cancelled it, or its webhook was deleted.
        Cancelled = "cancelled",
    }
}

impl DeliveryState {
    /// True if no attempt follows.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Cancelled)
    }
}

crate::text_enum! {
    /// Reason why an attempt got no usable response.
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
    /// Class of a response by its status.
    pub enum StatusClass {
        Success = "2xx",
        Redirect = "3xx",
        ClientError = "4xx",
        ServerError = "5xx",
        /// No response came.
        None = "none",
    }
}

impl StatusClass {
    /// Returns the first status of the class and the first one after it; `None` for no response.
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

/// Durations of the phases of an attempt, in microseconds. A reused connection has neither lookup nor connection time.
/// An attempt without a response has no first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Microseconds of the name lookup.
    pub dns_us: Option<i32>,
    /// Microseconds of the connection, including the TLS handshake.
    pub connect_us: Option<i32>,
    /// Microseconds from the start of the attempt until the head of the response.
    pub first_byte_us: Option<i32>,
}

/// Failure of an attempt other than by its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Kind of the failure.
    pub kind: ErrorKind,
    /// Description for people.
    pub sentence: String,
}

/// Outcome of one HTTP request. A refused connection is an outcome, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// HTTP status; `None` without a response.
    pub status: Option<u16>,
    /// Headers of the response.
    pub response_headers: Vec<(String, String)>,
    /// Start of the response's body, at most 16 KiB, with invalid UTF-8 replaced.
    pub response_body: Option<String>,
    /// Failure, if there was one.
    pub failure: Option<Failure>,
    /// Wait that the receiver requested by `Retry-After`.
    pub retry_after: Option<TimeDelta>,
    /// Milliseconds that the attempt took.
    pub duration_ms: i64,
    /// Durations of its phases.
    pub timings: Timings,
    /// IP address that was connected to, or tried.
    pub remote_address: Option<IpAddr>,
}

impl Outcome {
    /// Creates the outcome of an attempt without a response.
    pub fn failed(kind: ErrorKind, sentence: impl Into<String>) -> Self {
        Self { failure: Some(Failure { kind, sentence: sentence.into() }), ..Self::default() }
    }

    /// True for a complete response with a 2xx status.
    pub fn is_success(&self) -> bool {
        self.failure.is_none() && self.status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Describes the failure; `None` for a success.
    pub fn error(&self) -> Option<String> {
        match (&self.failure, self.status) {
            (Some(failure), _) => Some(failure.sentence.clone()),
            (None, _) if self.is_success() => None,
            (None, Some(status @ 300..400)) => Some(format!("answered {status}: redirects are not followed")),
            (None, Some(410)) => Some("answered 410: the endpoint is gone permanently".to_owned()),
            (None, Some(status)) => Some(format!("answered {status}")),
            (None, None) => Some("got no response".to_owned()),
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

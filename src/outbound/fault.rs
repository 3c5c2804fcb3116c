//! Classification of failed requests: an error kind, and a sentence for people.

use std::error::Error;
use std::io;

use super::guard::Blocked;
use super::lookups::Crowded;
use crate::domain::delivery::{ErrorKind, Failure};

/// Classifies an error of the client by its chain of causes.
pub fn explain(error: &reqwest::Error) -> Failure {
    let chain = causes(error);
    let failure = |kind, sentence: &str| Failure { kind, sentence: sentence.to_owned() };
    let says = |text: &str| chain.iter().any(|cause| cause.to_string().contains(text));
    if let Some(blocked) = chain.iter().find_map(|cause| cause.downcast_ref::<Blocked>()) {
        return failure(ErrorKind::BlockedAddress, &blocked.to_string());
    }
    if let Some(crowded) = chain.iter().find_map(|cause| cause.downcast_ref::<Crowded>()) {
        return failure(ErrorKind::Dns, &crowded.to_string());
    }
    if error.is_dns() {
        return failure(ErrorKind::Dns, "the host's name could not be resolved to an address");
    }
    if let Some(tls) = chain.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return failure(ErrorKind::Tls, &format!("no secure connection: {tls}"));
    }
    if says("tls handshake eof") {
        return failure(ErrorKind::Tls, "no secure connection: the receiver hung up during the handshake");
    }
    if error.is_timeout() {
        return failure(ErrorKind::Timeout, "no connection within 10 seconds");
    }
    if says("message head is too large") {
        return failure(ErrorKind::ResponseTooLarge, "answered with more headers than are read");
    }
    if ["closed before message completed", "end of file before message length", "unexpected EOF"]
        .iter()
        .any(|text| says(text))
    {
        return failure(ErrorKind::Protocol, "the connection was closed before the answer was complete");
    }
    if let Some(broken) = chain.iter().find_map(|cause| cause.downcast_ref::<io::Error>()) {
        return failure(ErrorKind::Connect, connection_sentence(broken.kind()));
    }
    if error.is_connect() {
        return failure(ErrorKind::Connect, "no connection");
    }
    let deepest = chain.last().map_or_else(String::new, ToString::to_string);
    failure(ErrorKind::Protocol, &format!("the answer is not valid HTTP: {deepest}"))
}

const fn connection_sentence(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "the connection was refused",
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "the connection was broken off by the receiver"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "the host can't be reached",
        _ => "no connection",
    }
}

/// Returns the error and all of its causes. `io::Error` hides the error that it wraps from `source`, so both are
/// followed.
fn causes(error: &reqwest::Error) -> Vec<&(dyn Error + 'static)> {
    let mut chain: Vec<&(dyn Error + 'static)> = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = next {
        chain.push(cause);
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    chain
}

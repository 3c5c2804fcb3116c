//! The one HTTP client of the product.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

use super::guard::Guard;
use super::lookups::Lookups;
use super::stopwatch::Timed;
use crate::domain::address::AddressPolicy;
use crate::domain::{Error, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Shorter than what receivers usually keep idle connections for, so that they rarely close one under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Header lines of an answer. More are no answer: hyper reads no further.
const MAX_HEADERS: usize = 1_000;

/// Begins an HTTP client that reads no proxy variables. TLS uses ring.
pub fn http() -> ClientBuilder {
    // Fails if this process has chosen already, which is then kept.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

/// Sends requests to places that others have chosen. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    pub(super) client: Client,
    pub(super) policy: Arc<AddressPolicy>,
}

impl Outbound {
    /// Fails where the system's TLS certificates can't be read.
    pub fn new(policy: AddressPolicy) -> Result<Self> {
        Self::with(policy, Lookups::default())
    }

    pub(super) fn with(policy: AddressPolicy, lookups: Lookups) -> Result<Self> {
        let policy = Arc::new(policy);
        // Decompression stays off because its features are: what is counted is what came over the wire.
        let client = http()
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(Guard::new(Arc::clone(&policy), lookups))
            .connector_layer(Timed)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_headers(MAX_HEADERS)
            // The status counts, however odd the head around it is (RFC 9112, sections 2.2 and 5.2).
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .tcp_nodelay(true)
            .build()
            .map_err(Error::bug)?;
        Ok(Self { client, policy })
    }

    pub fn policy(&self) -> &AddressPolicy {
        &self.policy
    }
}

//! HTTP client for all outgoing requests.

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
/// Time that idle connections are kept. Receivers usually keep them longer, so they rarely close one under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Maximum number of header lines of a response. With more, hyper fails the response.
const MAX_HEADERS: usize = 1_000;

/// Starts building an HTTP client that ignores proxy variables. TLS uses ring.
pub fn http() -> ClientBuilder {
    // Fails if this process already has a default provider, which is then kept.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy()
}

/// Client for URLs chosen by tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbound {
    pub(super) client: Client,
    pub(super) policy: Arc<AddressPolicy>,
}

impl Outbound {
    /// Builds the client. Fails if the system's TLS certificates cannot be read.
    pub fn new(policy: AddressPolicy) -> Result<Self> {
        Self::with(policy, Lookups::default())
    }

    pub(super) fn with(policy: AddressPolicy, lookups: Lookups) -> Result<Self> {
        let policy = Arc::new(policy);
        // Decompression is not compiled in, so size limits count the bytes on the wire.
        let client = http()
            .redirect(Policy::none())
            .referer(false)
            .dns_resolver(Guard::new(Arc::clone(&policy), lookups))
            .connector_layer(Timed)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_headers(MAX_HEADERS)
            // The status decides, even if the response's headers are malformed (RFC 9112, sections 2.2 and 5.2).
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

//! State that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use metrics_exporter_prometheus::PrometheusHandle;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::cookies::CookieNames;
use super::throttle::Throttle;
use crate::config::Settings;
use crate::domain::address::AddressPolicy;
use crate::domain::digest::Hasher;
use crate::domain::vault::Vault;
use crate::domain::{Clock, Error, Result};
use crate::gate::Gate;
use crate::gate::cache_trust::Listening;
use crate::gate::hashing::{Hashing, Requester};
use crate::gate::tokens::TokenGate;
use crate::services::delivery_signal::DeliverySignal;
use crate::services::outbox::Outbox;
use crate::services::readiness::Readiness;
use crate::store::Db;
use crate::store::notify::Change;

/// How long a password waits for a free hashing slot. About two dozen passwords can be hashed in this time.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Application state, one per server, shared through `Data`.
pub struct State {
    /// Settings read at startup.
    pub settings: Arc<Settings>,
    pub clock: Clock,
    /// Connection pool of the pages.
    pub pages: Db,
    /// Connection pool of the API.
    pub api: Db,
    /// Connection pool of usage reports and exports, whose queries can run for seconds on large data.
    pub reports: Db,
    /// Verification of API keys.
    pub gate: Arc<Gate>,
    /// Verification of access tokens.
    pub tokens: Arc<TokenGate>,
    /// Digests of API keys and access tokens.
    pub hasher: Arc<Hasher>,
    /// Encryption of secrets that must be readable again.
    pub vault: Arc<Vault>,
    /// Rules for addresses that webhooks may have.
    pub policy: Arc<AddressPolicy>,
    /// Publisher of events.
    pub outbox: Outbox,
    /// Wakes the delivery workers after this process published an event.
    pub delivery_signal: Arc<DeliverySignal>,
    /// Results of the readiness checks, for `/readyz`.
    pub readiness: Arc<Readiness>,
    /// Queue for password hashing.
    pub hashing: Hashing,
    /// Slows password guessing.
    pub throttle: Throttle,
    /// Source of `/metrics`.
    pub metrics: PrometheusHandle,
    /// Names of this instance's cookies.
    pub cookies: CookieNames,
    /// Description of the database in use.
    pub database: String,
}

impl State {
    /// Drops what this process caches of a changed object, and wakes the delivery worker where there is work. Called with the
    /// changes of this process after their COMMIT, and with those of other processes by NOTIFY.
    pub fn hear(&self, change: &Change) {
        self.gate.invalidate(change);
        self.tokens.invalidate(change);
        self.delivery_signal.hear(change);
    }

    /// Tells the caches how reliably this process hears of changes by other replicas.
    pub fn set_listening(&self, listening: Listening) {
        if matches!(listening, Listening::Began) {
            self.pages.renew();
            self.api.renew();
            self.reports.renew();
        }
        self.gate.set_listening(listening);
        self.tokens.set_listening(listening);
    }

    /// True if browsers reach this instance by https. Cookies then require it.
    pub fn is_https(&self) -> bool {
        self.settings.cookie_secure
    }

    /// Returns the host name under which people reach this instance.
    pub fn host(&self) -> String {
        self.settings.public_url.host_str().unwrap_or_default().to_owned()
    }

    /// Returns the key that signs session cookies, derived from the master key.
    pub fn cookie_key(&self) -> Result<Zeroizing<[u8; 64]>> {
        let mut key = Zeroizing::new([0; 64]);
        for (half, label) in key.chunks_exact_mut(32).zip(["session cookie, first half", "session cookie, second half"])
        {
            let mut mac = Hmac::<Sha256>::new_from_slice(&self.settings.master_key.bytes())
                .map_err(|error| Error::bug(error.to_string()))?;
            mac.update(label.as_bytes());
            half.copy_from_slice(&mac.finalize().into_bytes());
        }
        Ok(key)
    }

    /// Runs CPU-heavy work, such as hashing a password, off the async threads. Only a few run at a time, known
    /// requesters first. Refuses as unavailable if the work does not start within [`PATIENCE`].
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        requester: &Requester,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.hashing.run(requester, work).await?
    }
}

//! What the handlers share.

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
use crate::gate::hashing::{Hashing, Requester};
use crate::gate::link::Listening;
use crate::gate::tokens::TokenGate;
use crate::services::bell::Bell;
use crate::services::outbox::Outbox;
use crate::services::readiness::Readiness;
use crate::store::Db;
use crate::store::notify::Change;

/// How long a password waits for its turn to be hashed: two dozen go before it.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// One for the whole server, behind `Data`.
pub struct State {
    pub settings: Arc<Settings>,
    pub clock: Clock,
    /// The pool of the pages.
    pub pages: Db,
    /// The pool of the API.
    pub api: Db,
    /// The pool of usage reports and of exports, which read for seconds where there is much.
    pub reports: Db,
    pub gate: Arc<Gate>,
    pub tokens: Arc<TokenGate>,
    pub hasher: Arc<Hasher>,
    pub vault: Arc<Vault>,
    /// Which addresses webhooks may have.
    pub policy: Arc<AddressPolicy>,
    /// Where events are published.
    pub outbox: Outbox,
    /// Rung where this process has published something.
    pub bell: Arc<Bell>,
    /// Results of the readiness checks, for `/readyz`.
    pub readiness: Arc<Readiness>,
    /// What hashes passwords.
    pub hashing: Hashing,
    pub throttle: Throttle,
    pub metrics: PrometheusHandle,
    /// Names of this instance's cookies.
    pub cookies: CookieNames,
    /// The database in use, in words.
    pub database: String,
}

impl State {
    /// Drops what this process caches of a changed object, and wakes the delivery worker where there is work. Called with the
    /// changes of this process after their COMMIT, and with those of other processes by NOTIFY.
    pub fn hear(&self, change: &Change) {
        self.gate.invalidate(change);
        self.tokens.invalidate(change);
        self.bell.hear(change);
    }

    /// Tells the caches how far they know the changes of other processes.
    pub fn set_listening(&self, listening: Listening) {
        if matches!(listening, Listening::Began) {
            self.pages.renew();
            self.api.renew();
            self.reports.renew();
        }
        self.gate.set_listening(listening);
        self.tokens.set_listening(listening);
    }

    /// Whether browsers reach us by https: cookies are then held to it.
    pub fn is_https(&self) -> bool {
        self.settings.cookie_secure
    }

    /// The name under which people reach this instance.
    pub fn host(&self) -> String {
        self.settings.public_url.host_str().unwrap_or_default().to_owned()
    }

    /// The key that signs session cookies, made from the master key.
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

    /// Runs something that takes a core for long, such as hashing a password, off the async threads and few at a time, for
    /// known requesters first. Where it does not come to its turn within [`PATIENCE`], it is refused as unavailable.
    pub async fn off_the_loop<T: Send + 'static>(
        &self,
        requester: &Requester,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.hashing.run(requester, work).await?
    }
}

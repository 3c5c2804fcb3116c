//! Verification of secrets. Results of argon2id are cached, since each hash takes a core for tens of milliseconds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::hashing::{Hashing, Requester};
use crate::domain::digest::{HashAlgorithm, Hasher, StoredDigest};
use crate::domain::{Error, Result};

/// Time that a hash waits for its turn before the caller gets an error.
const PATIENCE: Duration = Duration::from_millis(500);
const MOST_RIGHT: usize = 100_000;
const MOST_WRONG: usize = 10_000;

type Fingerprint = [u8; 32];

/// Cache of verified secrets, stored as HMACs under a random key of this process.
pub struct SecretVerifier {
    mac: Hmac<Sha256>,
    right: Cache<Fingerprint, ()>,
    wrong: Cache<Fingerprint, ()>,
    hashing: Hashing,
    /// Digest for unknown ids, so that their verification takes as long as others.
    nobodys: Arc<OnceLock<StoredDigest>>,
}

impl SecretVerifier {
    pub fn new() -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(|cause| Error::bug(cause.to_string()))?;
        Ok(Self {
            mac: Hmac::new_from_slice(key.as_ref()).map_err(Error::bug)?,
            right: Cache::new(MOST_RIGHT),
            wrong: Cache::new(MOST_WRONG),
            hashing: Hashing::start(PATIENCE).map_err(Error::bug)?,
            nobodys: Arc::default(),
        })
    }

    /// Returns true if the secret matches. For an unknown id (`None`) it returns false after the same time.
    pub async fn verify(&self, hasher: &Arc<Hasher>, stored: Option<&StoredDigest>, secret: &str) -> Result<bool> {
        let algorithm = stored.map_or(hasher.algorithm(), |stored| stored.algorithm);
        match (algorithm, stored) {
            (HashAlgorithm::HmacSha256, Some(stored)) => Ok(hasher.verify(stored, secret)),
            (HashAlgorithm::HmacSha256, None) => {
                hasher.waste(secret);
                Ok(false)
            }
            (HashAlgorithm::Argon2id, _) => Box::pin(self.verify_slowly(hasher, stored, secret)).await,
        }
    }

    async fn verify_slowly(&self, hasher: &Arc<Hasher>, stored: Option<&StoredDigest>, secret: &str) -> Result<bool> {
        let fingerprint: Fingerprint = self.mac.clone().chain_update(secret.as_bytes()).finalize().into_bytes().into();
        if stored.is_some() && self.right.contains_key(&fingerprint) {
            return Ok(true);
        }
        if self.wrong.contains_key(&fingerprint) {
            return Ok(false);
        }
        let (hasher, text) = (Arc::clone(hasher), Zeroizing::new(secret.to_owned()));
        let (known, made) = (stored.cloned(), Arc::clone(&self.nobodys));
        let fits = self.hashing.run(&Requester::Unknown, move || match known {
            Some(digest) => Ok::<_, Error>(hasher.verify(&digest, &text)),
            None => {
                hasher.verify(&nobodys(&made, &hasher)?, &text);
                Ok(false)
            }
        });
        let fits = fits.await??;
        let memory = if fits { &self.right } else { &self.wrong };
        memory.insert(fingerprint, ());
        Ok(fits)
    }
}

/// Returns the digest for unknown ids. Made on first use.
fn nobodys(made: &OnceLock<StoredDigest>, hasher: &Hasher) -> Result<StoredDigest> {
    match made.get() {
        Some(digest) => Ok(digest.clone()),
        None => hasher.digest("no key's").map(|digest| made.get_or_init(|| digest).clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::domain::digest::{Pepper, Peppers};

    #[tokio::test]
    async fn the_result_of_a_slow_hash_is_cached() {
        let peppers = Peppers { current: Pepper::from_bytes(vec![7; 32]).unwrap(), old: Vec::new() };
        let hasher = Arc::new(Hasher::new(peppers, HashAlgorithm::Argon2id));
        let memory = SecretVerifier::new().unwrap();
        let stored = hasher.digest("sk_right").unwrap();
        for (digest, secret, fits) in
            [(Some(&stored), "sk_right", true), (Some(&stored), "sk_wrong", false), (None, "sk_none", false)]
        {
            let start = Instant::now();
            assert_eq!(memory.verify(&hasher, digest, secret).await.unwrap(), fits);
            let one = start.elapsed();
            for _ in 0..1_000 {
                assert_eq!(memory.verify(&hasher, digest, secret).await.unwrap(), fits);
            }
            assert!(start.elapsed() < one * 500, "each of a thousand was hashed");
        }
    }
}

//! Keyed digests of secrets: peppers, algorithms, and comparison in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::argon;
use super::error::{Rejection, Result};

crate::text_enum! {
    /// Algorithm for the digests of API keys.
    pub enum HashAlgorithm {
        HmacSha256 = "hmac-sha256",
        Argon2id = "argon2id",
    }
}

/// A pepper: a secret of the instance, kept outside the database. Without it no guess can be tested against a digest.
#[derive(Clone)]
pub struct Pepper {
    /// Id of the pepper, stored beside each digest.
    pub id: String,
    bytes: Zeroizing<Vec<u8>>,
    /// HMAC with its key schedule computed once.
    mac: Hmac<Sha256>,
}

impl Pepper {
    /// Creates a pepper of at least 32 bytes.
    pub fn new(id: impl Into<String>, bytes: Vec<u8>) -> Result<Self, Rejection> {
        let bytes = Zeroizing::new(bytes);
        let id = id.into();
        if bytes.len() < 32 {
            return Err(Rejection::new("too_short", "must be at least 32 bytes"));
        }
        if id.is_empty() || 64 < id.len() || !id.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.-".contains(&c)) {
            return Err(Rejection::new("pepper_id", "must be named by 1 to 64 of letters, digits and _ . -"));
        }
        let mac = Hmac::new_from_slice(&bytes).map_err(|_| Rejection::new("pepper", "is not a key"))?;
        Ok(Self { id, bytes, mac })
    }

    /// Creates a pepper named by its own fingerprint, so that its id stays the same when it retires.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Rejection> {
        let mut pepper = Self::new("p", bytes)?;
        pepper.id = pepper.fingerprint().chars().take(8).collect();
        Ok(pepper)
    }

    /// Returns a short HMAC of a fixed text, which identifies the pepper and reveals nothing of it.
    pub fn fingerprint(&self) -> String {
        let mac = self.mac("gatepost pepper fingerprint");
        hex::encode(mac.get(..8).unwrap_or_default())
    }

    fn mac(&self, text: &str) -> [u8; 32] {
        self.mac.clone().chain_update(text.as_bytes()).finalize().into_bytes().into()
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper({})", self.id)
    }
}

/// The current pepper, and retired ones that older digests use.
#[derive(Debug, Clone)]
pub struct Peppers {
    /// Pepper for new digests.
    pub current: Pepper,
    /// Peppers that only verify.
    pub old: Vec<Pepper>,
}

impl Peppers {
    /// Finds a pepper by its id.
    pub fn find(&self, id: &str) -> Option<&Pepper> {
        std::iter::once(&self.current).chain(&self.old).find(|pepper| pepper.id == id)
    }
}

/// A stored digest of a secret: hex for HMAC-SHA-256, a PHC string for argon2id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDigest {
    /// Algorithm of the digest.
    pub algorithm: HashAlgorithm,
    /// Id of the pepper.
    pub pepper_id: String,
    /// The digest as text.
    pub digest: String,
}

/// Computes and verifies digests, with one instance for the whole process.
#[derive(Debug)]
pub struct Hasher {
    peppers: Peppers,
    algorithm: HashAlgorithm,
}

impl Hasher {
    /// Creates a hasher that uses this algorithm for new digests.
    pub fn new(peppers: Peppers, algorithm: HashAlgorithm) -> Self {
        Self { peppers, algorithm }
    }

    /// Computes a digest with the current pepper and the instance's algorithm.
    pub fn digest(&self, secret: &str) -> Result<StoredDigest> {
        let pepper = &self.peppers.current;
        let digest = match self.algorithm {
            HashAlgorithm::HmacSha256 => hex::encode(pepper.mac(secret)),
            HashAlgorithm::Argon2id => argon::hash(secret.as_bytes(), &pepper.bytes)?,
        };
        Ok(StoredDigest { algorithm: self.algorithm, pepper_id: pepper.id.clone(), digest })
    }

    /// Verifies a secret in constant time. A digest with a pepper that this process doesn't have never matches.
    pub fn verify(&self, stored: &StoredDigest, secret: &str) -> bool {
        let Some(pepper) = self.peppers.find(&stored.pepper_id) else { return false };
        match stored.algorithm {
            HashAlgorithm::HmacSha256 => {
                let mut digest = [0; 32];
                hex::decode_to_slice(&stored.digest, &mut digest).is_ok()
                    && bool::from(pepper.mac(secret).ct_eq(&digest))
            }
            HashAlgorithm::Argon2id => argon::verify(&stored.digest, secret.as_bytes(), &pepper.bytes),
        }
    }

    /// True if the secret should be digested again at its next use.
    pub fn is_outdated(&self, stored: &StoredDigest) -> bool {
        stored.algorithm != self.algorithm || stored.pepper_id != self.peppers.current.id
    }

    /// Computes the digest of an access token, always with HMAC-SHA-256. Returns pepper id and digest.
    pub fn token_digest(&self, secret: &str) -> (String, Vec<u8>) {
        let pepper = &self.peppers.current;
        (pepper.id.clone(), pepper.mac(secret).to_vec())
    }

    /// Verifies an access token in constant time.
    pub fn verify_token(&self, pepper_id: &str, digest: &[u8], secret: &str) -> bool {
        self.peppers.find(pepper_id).is_some_and(|pepper| pepper.mac(secret).ct_eq(digest).into())
    }

    /// Takes as long as the refusal of a known id, so that a caller can't find out which ids exist.
    pub fn waste(&self, secret: &str) {
        std::hint::black_box(self.peppers.current.mac(secret).ct_eq(&[0; 32]));
    }

    /// Returns the algorithm for new digests.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// Returns the peppers.
    pub fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// Returns the fingerprint of the current pepper. The database stores it, so that a start with another pepper is
    /// noticed.
    pub fn fingerprint(&self) -> String {
        self.peppers.current.fingerprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(algorithm: HashAlgorithm) -> Hasher {
        let current = Pepper::new("new", vec![7; 32]).unwrap();
        let old = Pepper::new("old", vec![8; 40]).unwrap();
        Hasher::new(Peppers { current, old: vec![old] }, algorithm)
    }

    #[test]
    fn each_algorithm_accepts_the_secret_and_nothing_else() {
        for algorithm in HashAlgorithm::ALL {
            let hasher = hasher(*algorithm);
            let stored = hasher.digest("sk_one").unwrap();
            assert!(hasher.verify(&stored, "sk_one"));
            assert!(!hasher.verify(&stored, "sk_two"));
            assert!(!hasher.is_outdated(&stored));
            let unknown = StoredDigest { pepper_id: "gone".into(), ..stored };
            assert!(!hasher.verify(&unknown, "sk_one"));
        }
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 7: a key longer than a block.
        let pepper = Pepper::new("rfc", vec![0xaa; 131]).unwrap();
        let text = "This is a test using a larger than block-size key and a larger than block-size data. \
                    The key needs to be hashed before being used by the HMAC algorithm.";
        assert_eq!(hex::encode(pepper.mac(text)), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
    }

    #[test]
    fn a_digest_under_an_old_pepper_holds_and_is_outdated() {
        let before = Hasher::new(
            Peppers { current: Pepper::new("old", vec![8; 40]).unwrap(), old: Vec::new() },
            HashAlgorithm::Argon2id,
        );
        let stored = before.digest("sk_one").unwrap();
        let today = hasher(HashAlgorithm::HmacSha256);
        assert!(today.verify(&stored, "sk_one") && today.is_outdated(&stored));
    }

    #[test]
    fn a_pepper_has_32_bytes_and_debug_prints_only_its_id() {
        assert!(Pepper::from_bytes(vec![1; 31]).is_err());
        let pepper = Pepper::from_bytes(vec![1; 32]).unwrap();
        assert_eq!(format!("{pepper:?}"), format!("Pepper({})", pepper.id));
        assert_eq!(pepper.id.len(), 8);
    }
}

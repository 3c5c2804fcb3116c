//! Keyed digests of secrets: which pepper, which algorithm, and a comparison in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::argon;
use super::error::{Rejection, Result};

crate::text_enum! {
    /// How the secrets of API keys are digested.
    pub enum HashAlgorithm {
        HmacSha256 = "hmac-sha256",
        Argon2id = "argon2id",
    }
}

/// A secret of the instance, kept outside the database, without which no digest can be tried.
#[derive(Clone)]
pub struct Pepper {
    pub id: String,
    bytes: Zeroizing<Vec<u8>>,
    /// The HMAC key schedule, made once.
    mac: Hmac<Sha256>,
}

impl Pepper {
    /// At least 32 bytes.
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

    /// Named by its own fingerprint, so that a pepper has the same id before and after it retires.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Rejection> {
        let mut pepper = Self::new("p", bytes)?;
        pepper.id = pepper.fingerprint().chars().take(8).collect();
        Ok(pepper)
    }

    /// A short HMAC of a fixed text: tells peppers apart and gives nothing away.
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

/// The pepper of today, and those under which older digests were made.
#[derive(Debug, Clone)]
pub struct Peppers {
    pub current: Pepper,
    pub old: Vec<Pepper>,
}

impl Peppers {
    pub fn find(&self, id: &str) -> Option<&Pepper> {
        std::iter::once(&self.current).chain(&self.old).find(|pepper| pepper.id == id)
    }
}

/// What is kept of a secret: hex for HMAC-SHA-256, a PHC string for argon2id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDigest {
    pub algorithm: HashAlgorithm,
    pub pepper_id: String,
    pub digest: String,
}

/// Makes and checks digests; one for the whole process.
#[derive(Debug)]
pub struct Hasher {
    peppers: Peppers,
    algorithm: HashAlgorithm,
}

impl Hasher {
    pub fn new(peppers: Peppers, algorithm: HashAlgorithm) -> Self {
        Self { peppers, algorithm }
    }

    /// Under the current pepper, by the instance's algorithm.
    pub fn digest(&self, secret: &str) -> Result<StoredDigest> {
        let pepper = &self.peppers.current;
        let digest = match self.algorithm {
            HashAlgorithm::HmacSha256 => hex::encode(pepper.mac(secret)),
            HashAlgorithm::Argon2id => argon::hash(secret.as_bytes(), &pepper.bytes)?,
        };
        Ok(StoredDigest { algorithm: self.algorithm, pepper_id: pepper.id.clone(), digest })
    }

    /// In constant time. A digest under a pepper that this process doesn't have never fits.
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

    /// Whether the secret should be digested anew at its next use.
    pub fn is_outdated(&self, stored: &StoredDigest) -> bool {
        stored.algorithm != self.algorithm || stored.pepper_id != self.peppers.current.id
    }

    /// For access tokens, which are always HMAC-SHA-256: pepper id and digest.
    pub fn token_digest(&self, secret: &str) -> (String, Vec<u8>) {
        let pepper = &self.peppers.current;
        (pepper.id.clone(), pepper.mac(secret).to_vec())
    }

    /// In constant time.
    pub fn verify_token(&self, pepper_id: &str, digest: &[u8], secret: &str) -> bool {
        self.peppers.find(pepper_id).is_some_and(|pepper| pepper.mac(secret).ct_eq(digest).into())
    }

    /// Costs what a refusal of a known id costs, so that nobody learns which ids exist.
    pub fn waste(&self, secret: &str) {
        std::hint::black_box(self.peppers.current.mac(secret).ct_eq(&[0; 32]));
    }

    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    pub fn peppers(&self) -> &Peppers {
        &self.peppers
    }

    /// Of the current pepper; kept in the database so that a start with another one is noticed.
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
    fn a_pepper_is_long_enough_and_prints_its_id_alone() {
        assert!(Pepper::from_bytes(vec![1; 31]).is_err());
        let pepper = Pepper::from_bytes(vec![1; 32]).unwrap();
        assert_eq!(format!("{pepper:?}"), format!("Pepper({})", pepper.id));
        assert_eq!(pepper.id.len(), 8);
    }
}

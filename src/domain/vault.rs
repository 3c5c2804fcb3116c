//! Secrets at rest: sealed with the master key, bound to their tenant and row.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::ids::TenantId;

/// Which master key sealed a secret: the first byte of what is kept, so that keys can be changed later.
const KEY_ID: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Seals and opens with XChaCha20-Poly1305. What is kept: key id (1 byte), nonce (24 bytes), ciphertext with tag.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    fingerprint: String,
}

impl Vault {
    pub fn new(master: [u8; 32]) -> Self {
        let master = Zeroizing::new(master);
        let cipher = XChaCha20Poly1305::new(&(*master).into());
        Self { cipher, fingerprint: fingerprint_of(&master) }
    }

    /// Seals `plain` for one tenant and one row (`webhook:3`): elsewhere it can't be opened.
    pub fn seal(&self, tenant: TenantId, what: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| Error::bug(error.to_string()))?;
        let payload = Payload { msg: plain, aad: &aad(tenant, what) };
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Error::bug("sealing failed"))?;
        Ok([&[KEY_ID], nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Vault::seal`] made for the same tenant and row.
    pub fn open(&self, tenant: TenantId, what: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let unopened = || Error::bug(format!("the sealed secret of {what} can't be opened with this master key"));
        let (&KEY_ID, rest) = sealed.split_first().ok_or_else(unopened)? else { return Err(unopened()) };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(unopened)?;
        let payload = Payload { msg: ciphertext, aad: &aad(tenant, what) };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| unopened())
    }

    /// Tells one master key from another without giving it away; kept in `instance_facts`.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.fingerprint)
    }
}

fn aad(tenant: TenantId, what: &str) -> Vec<u8> {
    format!("tenant:{tenant}/{what}").into_bytes()
}

fn fingerprint_of(master: &[u8; 32]) -> String {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(master)
        .map(|mac| mac.chain_update(b"gatepost master key fingerprint"));
    let digest = mac.map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default();
    hex::encode(digest.get(..8).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACME: TenantId = TenantId(1);

    #[test]
    fn a_sealed_secret_opens_for_its_tenant_and_row_only() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(ACME, "webhook:3", b"whsec_x").unwrap();
        assert_eq!(vault.open(ACME, "webhook:3", &sealed).unwrap(), b"whsec_x");
        assert!(vault.open(TenantId(2), "webhook:3", &sealed).is_err());
        assert!(vault.open(ACME, "webhook:4", &sealed).is_err());
        assert!(Vault::new([8; 32]).open(ACME, "webhook:3", &sealed).is_err());
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(ACME, "webhook:3", b"whsec_x").unwrap();
        for index in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[index] ^= 1;
            assert!(vault.open(ACME, "webhook:3", &bent).is_err(), "byte {index}");
        }
        assert!(vault.open(ACME, "webhook:3", &[]).is_err());
        assert_ne!(sealed, vault.seal(ACME, "webhook:3", b"whsec_x").unwrap());
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_shows_nothing_of_them() {
        let (one, two) = (Vault::new([7; 32]), Vault::new([8; 32]));
        assert_eq!(one.fingerprint(), Vault::new([7; 32]).fingerprint());
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint().len(), 16);
    }
}

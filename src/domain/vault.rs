//! Vault for secrets at rest: sealed with the master key, bound to their tenant and row.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::{Error, Result};
use super::ids::TenantId;

/// Forms of a sealed secret, given by its first byte: without and with the id of its key.
const UNNAMED: u8 = 1;
const NAMED: u8 = 2;
const KEY_ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// Id of a master key: the start of a digest of the key, which reveals nothing of it.
pub type KeyId = [u8; KEY_ID_BYTES];

/// Seals and opens secrets with XChaCha20-Poly1305. A sealed secret consists of form (1 byte), key id (8 bytes), nonce
/// (24 bytes), and ciphertext with tag. Secrets sealed before keys had ids (form 1) have no id, so every key is tried.
pub struct Vault {
    current: Lock,
    /// Retired keys, which only open.
    old: Vec<Lock>,
}

/// A master key that is ready to use.
struct Lock {
    cipher: XChaCha20Poly1305,
    id: KeyId,
}

impl Lock {
    fn new(master: [u8; 32]) -> Self {
        let master = Zeroizing::new(master);
        Self { cipher: XChaCha20Poly1305::new(&(*master).into()), id: id_of(&master) }
    }

    fn open(&self, aad: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad }).ok()
    }
}

impl Vault {
    /// Creates a vault with one key.
    pub fn new(master: [u8; 32]) -> Self {
        Self::with_old(master, [])
    }

    /// Creates a vault that seals with `master`, and also opens with the retired keys.
    pub fn with_old(master: [u8; 32], old: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self { current: Lock::new(master), old: old.into_iter().map(Lock::new).collect() }
    }

    /// Seals `plain` for one tenant and one row (`webhook:3`). It can't be opened for another one.
    pub fn seal(&self, tenant: TenantId, what: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| Error::bug(error.to_string()))?;
        let payload = Payload { msg: plain, aad: &aad(tenant, what) };
        let sealed = self.current.cipher.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::bug("sealing failed"))?;
        Ok([self.mark().as_slice(), nonce.as_slice(), &sealed].concat())
    }

    /// Opens a secret that [`Vault::seal`] sealed for this tenant and row, with the current key or a retired one.
    pub fn open(&self, tenant: TenantId, what: &str, sealed: &[u8]) -> Result<Vec<u8>> {
        let aad = aad(tenant, what);
        let mut locks = std::iter::once(&self.current).chain(&self.old);
        let opened = match sealed.split_first() {
            Some((&UNNAMED, rest)) => locks.find_map(|lock| lock.open(&aad, rest)),
            Some((&NAMED, rest)) => rest
                .split_first_chunk::<KEY_ID_BYTES>()
                .and_then(|(id, rest)| locks.find(|lock| lock.id == *id)?.open(&aad, rest)),
            _ => None,
        };
        opened.ok_or_else(|| Error::bug(format!("the sealed secret of {what} can't be opened with these master keys")))
    }

    /// Returns the first bytes of everything that the current key seals.
    pub fn mark(&self) -> Vec<u8> {
        mark(&self.current)
    }

    /// Returns the first bytes of all secrets with a key id that can be opened.
    pub fn marks(&self) -> Vec<Vec<u8>> {
        std::iter::once(&self.current).chain(&self.old).map(mark).collect()
    }

    /// Identifies the current master key without revealing it; stored in `instance_facts`.
    pub fn fingerprint(&self) -> String {
        hex::encode(self.current.id)
    }

    /// True if the key with this fingerprint is the current one or a retired one.
    pub fn holds(&self, fingerprint: &str) -> bool {
        std::iter::once(&self.current).chain(&self.old).any(|lock| hex::encode(lock.id) == fingerprint)
    }

    /// Returns the id of the key that sealed a secret, in hexadecimal; `None` for the form without ids.
    pub fn key_of(sealed: &[u8]) -> Option<String> {
        let (&form, rest) = sealed.split_first()?;
        rest.get(..KEY_ID_BYTES).filter(|_| form == NAMED).map(hex::encode)
    }
}

/// Returns the first bytes of everything that a key seals.
fn mark(lock: &Lock) -> Vec<u8> {
    [&[NAMED], lock.id.as_slice()].concat()
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault({})", self.fingerprint())
    }
}

/// Returns the associated data that binds a secret to its tenant and row.
fn aad(tenant: TenantId, what: &str) -> Vec<u8> {
    format!("tenant:{tenant}/{what}").into_bytes()
}

/// Returns the id of a master key.
fn id_of(master: &[u8; 32]) -> KeyId {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(master)
        .map(|mac| mac.chain_update(b"gatepost master key fingerprint"));
    let digest = mac.map(|mac| mac.finalize().into_bytes().to_vec()).unwrap_or_default();
    digest.first_chunk().copied().unwrap_or_default()
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
    fn any_changed_byte_prevents_opening() {
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
    fn a_fingerprint_identifies_a_key() {
        let (one, two) = (Vault::new([7; 32]), Vault::new([8; 32]));
        assert_eq!(one.fingerprint(), Vault::new([7; 32]).fingerprint());
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.fingerprint().len(), 16);
    }

    #[test]
    fn a_retired_key_opens_and_the_current_one_seals() {
        let (old, new) = (Vault::new([7; 32]), Vault::with_old([8; 32], [[7; 32]]));
        let before = old.seal(ACME, "webhook:3", b"whsec_x").unwrap();
        assert_eq!(new.open(ACME, "webhook:3", &before).unwrap(), b"whsec_x");
        let after = new.seal(ACME, "webhook:3", b"whsec_x").unwrap();
        assert!(old.open(ACME, "webhook:3", &after).is_err());
        assert!(after.starts_with(&new.mark()) && !before.starts_with(&new.mark()));
        assert_eq!((Vault::key_of(&before), Vault::key_of(&after)), (Some(old.fingerprint()), Some(new.fingerprint())));
        assert!(new.holds(&old.fingerprint()) && !old.holds(&new.fingerprint()));
    }

    #[test]
    fn secrets_sealed_before_keys_had_ids_still_open() {
        let vault = Vault::new([7; 32]);
        let sealed = vault.seal(ACME, "webhook:3", b"whsec_x").unwrap();
        let unnamed = [&[UNNAMED], sealed.get(1 + KEY_ID_BYTES..).unwrap()].concat();
        assert_eq!(vault.open(ACME, "webhook:3", &unnamed).unwrap(), b"whsec_x");
        assert_eq!(Vault::with_old([8; 32], [[7; 32]]).open(ACME, "webhook:3", &unnamed).unwrap(), b"whsec_x");
        assert!(Vault::new([8; 32]).open(ACME, "webhook:3", &unnamed).is_err());
        assert_eq!(Vault::key_of(&unnamed), None);
    }
}

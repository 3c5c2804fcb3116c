//! Key pairs that sign webhook requests: Ed25519, `v1a` of Standard Webhooks 1.0.0.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{KEYPAIR_LENGTH, SECRET_KEY_LENGTH, Signer};
use zeroize::Zeroizing;

use super::error::{Error, Rejection, Result};

/// A key pair. Receivers get the public key; the private key is never shown.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Prefix of a private key, before the base64 of seed and public key (64 bytes).
    pub const PREFIX: &'static str = "whsk_";
    /// Prefix of a public key, before the base64 of its 32 bytes.
    pub const PUBLIC_PREFIX: &'static str = "whpk_";

    /// Generates a random key pair.
    pub fn generate() -> Result<Self> {
        let mut seed = Zeroizing::new([0_u8; SECRET_KEY_LENGTH]);
        getrandom::fill(seed.as_mut_slice()).map_err(|error| Error::bug(error.to_string()))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Parses a private key that a user provides. Whitespace around it is dropped.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let unfit = |detail| Rejection::new("signing_key", detail);
        let shape = "must be whsk_ and the base64 of seed and public key (64 bytes)";
        let encoded = text.trim().strip_prefix(Self::PREFIX).ok_or_else(|| unfit(shape))?;
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| unfit(shape))?);
        let pair: &[u8; KEYPAIR_LENGTH] = bytes.as_slice().try_into().map_err(|_| unfit(shape))?;
        let key = ed25519_dalek::SigningKey::from_keypair_bytes(pair);
        key.map(Self).map_err(|_| unfit("must end with the public key that belongs to its seed"))
    }

    /// Returns the private key in the form that [`SigningKey::parse`] reads, for the vault.
    pub fn reveal(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.0.to_keypair_bytes());
        Zeroizing::new(format!("{}{}", Self::PREFIX, STANDARD.encode(bytes.as_slice())))
    }

    /// Returns the public key, `whpk_…`, for receivers.
    pub fn public(&self) -> String {
        format!("{}{}", Self::PUBLIC_PREFIX, STANDARD.encode(self.0.verifying_key().as_bytes()))
    }

    /// Computes a `v1a,<base64>` signature over `{id}.{timestamp}.{body}`.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
        format!("v1a,{}", STANDARD.encode(self.0.sign(&signed).to_bytes()))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

    #[test]
    fn the_vector_of_standard_webhooks_holds() {
        let key = SigningKey::parse(GIVEN).unwrap();
        assert_eq!(key.public(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
        assert_eq!(key.reveal().as_str(), GIVEN);
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(
            signature,
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
    }

    #[test]
    fn generated_keys_differ_and_their_private_part_is_never_printed() {
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        assert_ne!(one.public(), two.public());
        assert_eq!(SigningKey::parse(&one.reveal()).unwrap().public(), one.public());
        let printed = format!("{one:?}");
        assert!(printed.contains("whpk_") && !printed.contains("whsk_"), "{printed}");
    }

    #[test]
    fn an_unfit_key_is_refused() {
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        let of_another = GIVEN.replace("1SiA", "").replace("fVKI", "fVKJ");
        for text in ["", "whsk_", "whsk_c2hvcnQ=", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", public, &of_another] {
            assert_eq!(SigningKey::parse(text).unwrap_err().code, "signing_key", "{text}");
        }
    }
}

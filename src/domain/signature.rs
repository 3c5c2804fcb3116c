//! Signing secrets, the two signatures of a webhook request, and the bodies that they cover (Standard Webhooks 1.0.0).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::{Error, Rejection, Result};
use super::ids::EventId;
use super::signing_key::SigningKey;
use super::text::is_invisible;
use super::webhook::{PayloadFormat, SignatureStyle};

/// A secret that a receiver shares with Gatepost. Each display is audited; `Debug` never prints it.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<String>);

impl SigningSecret {
    /// Prefix of secrets in the form of Standard Webhooks.
    pub const PREFIX: &'static str = "whsec_";
    /// Length of a generated secret in bytes.
    const GENERATED_BYTES: usize = 32;
    /// Allowed lengths behind the prefix in bytes (Standard Webhooks 1.0.0).
    const FITTING_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// Generates a `whsec_…` of 32 random bytes.
    pub fn generate() -> Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; Self::GENERATED_BYTES]);
        getrandom::fill(bytes.as_mut_slice()).map_err(|error| Error::bug(error.to_string()))?;
        Ok(Self(Zeroizing::new(format!("{}{}", Self::PREFIX, STANDARD.encode(bytes.as_slice())))))
    }

    /// Parses a secret that a user provides: `whsec_…` as libraries of Standard Webhooks decode it, or 1 to 256
    /// printable characters in another form. Blanks around it are left out.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        if !text.chars().any(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c)) {
            return Err(Rejection::required());
        }
        // Full-width and other compatibility letters look like the prefix too.
        let visible: Zeroizing<String> = Zeroizing::new(text.chars().filter(|c| !is_invisible(*c)).collect());
        let lower = Zeroizing::new(ComposingNormalizerBorrowed::new_nfkc().normalize(&visible).to_lowercase());
        if lower.contains(Self::PREFIX) {
            return Self::parse_standard(text);
        }
        if 256 < text.chars().count() {
            return Err(Rejection::new("too_long", "must be at most 256 characters"));
        }
        if text.chars().any(char::is_control) {
            return Err(Rejection::new("control_character", "must not contain control characters"));
        }
        if lower.contains(SigningKey::PREFIX) || lower.contains(SigningKey::PUBLIC_PREFIX) {
            return Err(Rejection::new("secret", "must be a shared secret: a key pair goes into signing_key"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    fn parse_standard(text: &str) -> Result<Self, Rejection> {
        let Some(encoded) = text.strip_prefix(Self::PREFIX) else {
            let says = "must begin with whsec_ in lower case: leave out what stands before it";
            return Err(Rejection::new("secret", says));
        };
        match STANDARD.decode(encoded) {
            Ok(bytes) if Self::FITTING_BYTES.contains(&bytes.len()) => Ok(Self(Zeroizing::new(text.to_owned()))),
            Ok(bytes) => {
                let says = format!("must hold 24 to 64 bytes behind whsec_, and these are {}", bytes.len());
                Err(Rejection::new("secret", says))
            }
            Err(_) => {
                let says = "must have standard base64 behind whsec_, with + and /, padded with = to a multiple of 4";
                Err(Rejection::new("secret", says))
            }
        }
    }

    /// Reads a secret from the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        String::from_utf8(bytes).map(|text| Self(Zeroizing::new(text))).map_err(Error::bug)
    }

    /// Returns the text as its user knows it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the key of the `v1` signature: the decoded bytes of a `whsec_` secret, else the bytes of the text.
    fn key(&self) -> Zeroizing<Vec<u8>> {
        let decoded = self.0.strip_prefix(Self::PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let fitting = decoded.filter(|bytes| Self::FITTING_BYTES.contains(&bytes.len()));
        Zeroizing::new(fitting.unwrap_or_else(|| self.0.as_bytes().to_vec()))
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// Signer of a webhook: it has at least one shared secret, and key pairs if a user added them.
#[derive(Debug)]
pub enum Signer {
    /// Shared secret, which signs with HMAC-SHA-256.
    Secret(SigningSecret),
    /// Key pair, which signs with Ed25519.
    Key(SigningKey),
}

impl Signer {
    /// Reads a signer from the vault.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self> {
        let secret = SigningSecret::from_bytes(bytes)?;
        if !secret.reveal().starts_with(SigningKey::PREFIX) {
            return Ok(Self::Secret(secret));
        }
        SigningKey::parse(secret.reveal()).map(Self::Key).map_err(|rejection| Error::bug(rejection.detail))
    }
}

/// Computes the HMAC-SHA-256 of the parts in order.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| Error::bug(error.to_string()))?;
    for part in parts {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Computes a `v1,<base64>` signature over `{id}.{timestamp}.{body}`.
pub fn standard(secret: &SigningSecret, id: &str, timestamp: i64, body: &[u8]) -> Result<String> {
    let digest = hmac(&secret.key(), &[id.as_bytes(), b".", timestamp.to_string().as_bytes(), b".", body])?;
    Ok(format!("v1,{}", STANDARD.encode(digest)))
}

/// Computes `X-Webhook-Signature`: HMAC-SHA-256 of the body alone, keyed with the secret's text.
pub fn over_body(secret: &SigningSecret, style: SignatureStyle, body: &[u8]) -> Result<String> {
    let digest = hex::encode(hmac(secret.reveal().as_bytes(), &[body])?);
    Ok(match style {
        SignatureStyle::Prefixed => format!("sha256={digest}"),
        SignatureStyle::Hex => digest,
    })
}

/// Facts about an event that the body of a delivery contains.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Id of the event.
    pub id: EventId,
    /// Type of the event.
    pub kind: &'a str,
    /// Time of publication (UTC).
    pub at: DateTime<Utc>,
    /// Slug of the tenant.
    pub tenant_slug: &'a str,
    /// Payload as the exact JSON text that was published.
    pub payload: &'a str,
}

/// Body in the format `standard`, of Standard Webhooks.
#[derive(Serialize)]
struct Standard<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    timestamp: DateTime<Utc>,
    data: &'a RawValue,
}

/// Body in the format `event`.
#[derive(Serialize)]
struct Event<'a> {
    event: &'a str,
    timestamp: DateTime<Utc>,
    data: &'a RawValue,
}

/// Body in the format `cloudevents`: CloudEvents 1.0.2, JSON event format 3.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    time: DateTime<Utc>,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// Returns the bytes that are sent and signed. They contain the payload as its exact text.
pub fn body(format: PayloadFormat, envelope: &Envelope<'_>) -> Result<Vec<u8>> {
    let Envelope { id, kind, at, tenant_slug, payload } = *envelope;
    let data: &RawValue = serde_json::from_str(payload).map_err(Error::bug)?;
    let written = match format {
        PayloadFormat::Raw => return Ok(payload.as_bytes().to_vec()),
        PayloadFormat::Standard => serde_json::to_vec(&Standard { kind, timestamp: at, data }),
        PayloadFormat::Event => serde_json::to_vec(&Event { event: kind, timestamp: at, data }),
        PayloadFormat::CloudEvents => serde_json::to_vec(&CloudEvent {
            specversion: "1.0",
            id,
            source: format!("urn:gatepost:tenant:{tenant_slug}"),
            kind,
            time: at,
            datacontenttype: "application/json",
            data,
        }),
    };
    written.map_err(Error::bug)
}

/// Returns the `Content-Type` for a format.
pub const fn content_type(format: PayloadFormat) -> &'static str {
    match format {
        PayloadFormat::CloudEvents => "application/cloudevents+json",
        PayloadFormat::Standard | PayloadFormat::Event | PayloadFormat::Raw => "application/json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_standard_webhooks_hold() {
        let table = [
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ];
        for (secret, id, at, body, expected) in table {
            let secret = SigningSecret::parse(secret).unwrap();
            assert_eq!(standard(&secret, id, at, body.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn a_secret_of_another_form_is_used_as_its_bytes() {
        // RFC 4231, test case 2.
        let secret = SigningSecret::parse("Jefe").unwrap();
        let digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let body = b"what do ya want for nothing?";
        assert_eq!(over_body(&secret, SignatureStyle::Hex, body).unwrap(), digest);
        assert_eq!(over_body(&secret, SignatureStyle::Prefixed, body).unwrap(), format!("sha256={digest}"));
        assert_eq!(secret.key().as_slice(), b"Jefe");
    }

    #[test]
    fn text_like_a_standard_secret_is_decoded_or_refused() {
        let bytes = |count: usize| STANDARD.encode(vec![0xfb_u8; count]);
        let good = format!("whsec_{}", bytes(24));
        for count in [24, 25, 32, 64] {
            let secret = SigningSecret::parse(&format!(" whsec_{}\n", bytes(count))).unwrap();
            assert_eq!(secret.key().as_slice(), vec![0xfb; count]);
            assert_eq!(secret.reveal(), format!("whsec_{}", bytes(count)), "without the blanks around it");
        }
        let refused = [
            format!("whsec_{}", bytes(16)),
            format!("whsec_{}", bytes(23)),
            format!("whsec_{}", bytes(65)),
            format!("whsec_{}", bytes(25).trim_end_matches('=')),
            format!("whsec_{}", bytes(24).replace('+', "-").replace('/', "_")),
            format!("whsec_ {}", bytes(24)),
            format!("whsec_{} {}", &bytes(24)[..8], &bytes(24)[8..]),
            format!("{good}="),
            format!("v1,{good}"),
            format!("v1a,{good}"),
            format!("\"{good}\""),
            format!("SECRET={good}"),
            format!("\u{feff}{good}"),
            good.replace("whsec_", "WHSEC_"),
            "whsec_not base64".to_owned(),
            "whsec_".to_owned(),
        ];
        for text in refused {
            assert_eq!(SigningSecret::parse(&text).unwrap_err().code, "secret", "{text}");
        }
    }

    #[test]
    fn the_body_signature_uses_the_whole_secret_as_shown() {
        let shown = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let secret = SigningSecret::parse(shown).unwrap();
        let expected = hex::encode(hmac(shown.as_bytes(), &[b"{}"]).unwrap());
        assert_eq!(over_body(&secret, SignatureStyle::Hex, b"{}").unwrap(), expected);
    }

    #[test]
    fn generated_secrets_differ_have_32_bytes_and_are_never_printed() {
        let (one, two) = (SigningSecret::generate().unwrap(), SigningSecret::generate().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert!(one.reveal().starts_with("whsec_"));
        assert_eq!(one.key().len(), 32);
        assert_eq!(format!("{one:?}"), "SigningSecret");
    }

    #[test]
    fn blanks_around_a_secret_are_left_out() {
        for text in [" Jefe", "Jefe\n", "\t Jefe \u{a0}"] {
            assert_eq!(SigningSecret::parse(text).unwrap().reveal(), "Jefe", "{text:?}");
        }
        assert_eq!(SigningSecret::parse(" two words ").unwrap().reveal(), "two words");
    }

    #[test]
    fn an_unfit_secret_is_refused() {
        for (text, code) in [
            ("", "required"),
            (" ", "required"),
            ("\u{200b}\u{feff}", "required"),
            (" \u{200d} \u{2060}", "required"),
            ("\u{ff57}\u{ff48}\u{ff53}\u{ff45}\u{ff43}\u{ff3f}abc", "secret"),
            ("wh\u{200b}sec_abc", "secret"),
            ("a\nb", "control_character"),
            ("whsk_abc", "secret"),
            (" WHPK_abc", "secret"),
        ] {
            assert_eq!(SigningSecret::parse(text).unwrap_err().code, code);
        }
        assert_eq!(SigningSecret::parse(&"x".repeat(257)).unwrap_err().code, "too_long");
    }

    #[test]
    fn the_payload_is_spliced_as_its_exact_text() {
        let payload = r#"{ "b": 1.0, "a": 12345678901234567890123, "é":"\u00e9" }"#;
        let envelope = Envelope {
            id: EventId("0188bac7-4afa-78aa-bc3b-bd1eef28d881".parse().unwrap()),
            kind: "order.created",
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            tenant_slug: "acme",
            payload,
        };
        let text = |format| String::from_utf8(body(format, &envelope).unwrap()).unwrap();
        assert_eq!(text(PayloadFormat::Raw), payload);
        let head = r#"{"type":"order.created","timestamp":"2026-01-01T00:00:00Z","data":"#;
        assert_eq!(text(PayloadFormat::Standard), format!("{head}{payload}}}"));
        let head = r#"{"event":"order.created","timestamp":"2026-01-01T00:00:00Z","data":"#;
        assert_eq!(text(PayloadFormat::Event), format!("{head}{payload}}}"));
        let head = concat!(
            r#"{"specversion":"1.0","id":"evt_01h2xcejqtf2nbrexx3vqjhp41","source":"urn:gatepost:tenant:acme","#,
            r#""type":"order.created","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","data":"#
        );
        assert_eq!(text(PayloadFormat::CloudEvents), format!("{head}{payload}}}"));
    }
}

//! Code samples by which a receiver verifies signatures. They need no library of Gatepost, and tests run them where
//! possible.

use crate::web::view::Snippet;

const PYTHON: &str = include_str!("../../../../templates/webhooks/verify/verify.py");
const JAVASCRIPT: &str = include_str!("../../../../templates/webhooks/verify/verify.mjs");
const GO: &str = include_str!("../../../../templates/webhooks/verify/verify.go");
const RUST: &str = include_str!("../../../../templates/webhooks/verify/verify.rs");
const RUBY: &str = include_str!("../../../../templates/webhooks/verify/verify.rb");
const PHP: &str = include_str!("../../../../templates/webhooks/verify/verify.php");

const BY_HAND: &str = r#"# X-Webhook-Signature is the HMAC-SHA-256 of the body, keyed with the secret as it is shown:
printf %s "$BODY" | openssl dgst -sha256 -hmac "$GATEPOST_SIGNING_SECRET"

# webhook-signature is v1, and the base64 HMAC-SHA-256 of the text below.
# Its key is the base64-decoded part after whsec_. A secret without whsec_
# is used as it is. v1a, is the ed25519 signature of the same text: verify
# it with the base64-decoded part after whpk_.
#   {webhook-id}.{webhook-timestamp}.{body}
# Refuse timestamps that are older than five minutes."#;

/// Returns the code samples.
pub fn verifying() -> Vec<Snippet> {
    vec![
        Snippet::new("Python", PYTHON),
        Snippet::new("JavaScript", JAVASCRIPT),
        Snippet::new("Go", GO),
        Snippet::new("Rust", RUST),
        Snippet::new("Ruby", RUBY),
        Snippet::new("PHP", PHP),
        Snippet::new("By hand", BY_HAND),
    ]
}

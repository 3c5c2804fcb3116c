//! How a receiver verifies what Gatepost signed.

use crate::web::view::Snippet;

const JAVASCRIPT: &str = r#"import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.GATEPOST_SIGNING_SECRET);
// The raw body, before anything parses it.
const event = webhook.verify(rawBody, request.headers);"#;

const PYTHON: &str = r#"import os
from standardwebhooks import Webhook

webhook = Webhook(os.environ["GATEPOST_SIGNING_SECRET"])
# The raw body, before anything parses it.
event = webhook.verify(raw_body, request.headers)"#;

const BY_HAND: &str = r#"# X-Webhook-Signature is the HMAC-SHA-256 of the body, keyed with the secret as you see it:
printf %s "$BODY" | openssl dgst -sha256 -hmac "$GATEPOST_SIGNING_SECRET"

# webhook-signature is v1, and the base64 HMAC-SHA-256 of this text,
# keyed with the bytes behind whsec_ (base64):
#   {webhook-id}.{webhook-timestamp}.{body}
# Refuse timestamps that are older than five minutes."#;

pub fn verifying() -> Vec<Snippet> {
    vec![Snippet::new("JavaScript", JAVASCRIPT), Snippet::new("Python", PYTHON), Snippet::new("By hand", BY_HAND)]
}

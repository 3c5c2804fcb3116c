//! Wire types that several resources share, and helpers to read them.

use actix_web::HttpRequest;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::{Error, Result};
use crate::services::idempotency::IdempotencyKey;

/// Tells an absent field from one that is `null`: `None`, `Some(None)`, `Some(Some(value))`.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// JSON of any kind as its exact text; `null` is a value like any other.
pub fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// The request's idempotency key, and a hash of what it asks.
pub fn idempotency(request: &HttpRequest, asked: &impl Serialize) -> Result<Option<(IdempotencyKey, Vec<u8>)>> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = IdempotencyKey::parse(value.to_str().unwrap_or_default());
    let key = key.map_err(|rejection| Error::field("Idempotency-Key", rejection))?;
    let asked = serde_json::to_vec(asked).map_err(Error::bug)?;
    Ok(Some((key, Sha256::digest(asked).to_vec())))
}

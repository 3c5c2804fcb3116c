//! Wire types that several resources share, and helpers to read them.

use actix_web::HttpRequest;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::{Error, Rejection, Result};
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

/// The request's idempotency key, as its header has it: once.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>> {
    let mut all = request.headers().get_all("idempotency-key");
    let Some(value) = all.next() else { return Ok(None) };
    let key = match all.next() {
        None => IdempotencyKey::parse(value.to_str().unwrap_or_default()),
        Some(_) => Err(Rejection::new("duplicate", "must be given once")),
    };
    key.map(Some).map_err(|rejection| Error::field("Idempotency-Key", rejection))
}

/// The request's idempotency key, and a hash of what it asks.
pub fn idempotency(request: &HttpRequest, asked: &impl Serialize) -> Result<Option<(IdempotencyKey, Vec<u8>)>> {
    let Some(key) = idempotency_key(request)? else { return Ok(None) };
    let asked = serde_json::to_vec(asked).map_err(Error::bug)?;
    Ok(Some((key, Sha256::digest(asked).to_vec())))
}

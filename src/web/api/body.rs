//! Wire types that several resources share, with their deserializers.

use actix_web::http::header::{CACHE_CONTROL, HeaderName, LOCATION};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::{Error, Rejection, Result, TenantId};
use crate::services::idempotency::{self, IdempotencyKey, IdempotencyOutcome};
use crate::store::Tx;

/// Reads a field of a change that always has a value. An absent field keeps the value; `null` is refused.
pub fn set<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let value: Option<T> = Option::deserialize(deserializer)?;
    value.map(Some).ok_or_else(|| D::Error::custom("must not be null: leave the field out to keep its value"))
}

/// Reads a field of a change that may be empty. An absent field keeps the value; `null` clears it.
pub fn cleared<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    or_default(deserializer).map(Some)
}

/// Reads an optional field of a new resource. `null` counts as absent.
pub fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Header by which a client marks retries of one request (draft-ietf-httpapi-idempotency-key-header-07).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Returns the value of a field that has several names. It may be given under one of them.
pub fn named<T, const N: usize>(values: [Option<T>; N]) -> Result<Option<T>, Rejection> {
    let mut given = values.into_iter().flatten();
    match (given.next(), given.next()) {
        (value, None) => Ok(value),
        _ => Err(Rejection::new("duplicate", "must be given once")),
    }
}

/// Returns the payload of an event, which has two names. `null` under one name leaves the value of the other.
pub fn named_payload(names: [Option<Box<RawValue>>; 2]) -> Result<Option<Box<RawValue>>, Rejection> {
    let is_null = |value: &RawValue| value.get() == "null";
    match names {
        [Some(one), Some(other)] if is_null(&one) => Ok(Some(other)),
        [Some(one), Some(other)] if is_null(&other) => Ok(Some(one)),
        names => named(names),
    }
}

/// Reads any JSON value as its exact text. `null` counts as a value, not as absent.
pub fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// Returns the idempotency key from the request's header, which may occur once.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<IdempotencyKey>> {
    let mut all = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = all.next() else { return Ok(None) };
    let key = match all.next() {
        None => IdempotencyKey::parse(value.to_str().unwrap_or_default()),
        Some(_) => Err(Rejection::new("duplicate", "must be given once")),
    };
    key.map(Some).map_err(|rejection| Error::field("Idempotency-Key", rejection))
}

/// Idempotency key and a hash of its request.
pub type Keyed = (IdempotencyKey, Vec<u8>);

/// Returns the request's idempotency key with a hash of the content `asked`.
pub fn idempotency(request: &HttpRequest, asked: &impl Serialize) -> Result<Option<Keyed>> {
    let Some(key) = idempotency_key(request)? else { return Ok(None) };
    let asked = serde_json::to_vec(asked).map_err(Error::bug)?;
    Ok(Some((key, Sha256::digest(asked).to_vec())))
}

/// Creates a resource with a secret. With an idempotency key, `work` runs once for all its requests; without, every
/// time. `shown` returns the response to store, without the secret.
pub fn make<T>(
    tx: &mut Tx<'_>,
    (tenant, route, once): (TenantId, &str, Option<&Keyed>),
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    shown: impl FnOnce(&T) -> Result<Value>,
) -> Result<IdempotencyOutcome<T>> {
    match once {
        None => work(tx).map(IdempotencyOutcome::First),
        Some((key, hash)) => idempotency::create_once(tx, tenant, (route, (key, hash)), work, |_, made| shown(made)),
    }
}

/// Responds 201 with a new resource. Its URL is `list` followed by its id.
pub fn made(list: &str, id: i64, body: &impl Serialize) -> HttpResponse {
    created(list, id).json(body)
}

/// Responds 201 with the stored response of an earlier request with the same idempotency key.
pub fn made_before(list: &str, body: &Value) -> HttpResponse {
    let id = body.get("id").and_then(Value::as_i64).unwrap_or_default();
    created(list, id).insert_header(("Idempotent-Replayed", "true")).json(body)
}

fn created(list: &str, id: i64) -> HttpResponseBuilder {
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, format!("{list}/{id}"))).insert_header((CACHE_CONTROL, "no-store"));
    answer
}

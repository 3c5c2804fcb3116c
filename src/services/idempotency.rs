//! Idempotency keys of the API: a request is processed once, and its repetitions get the stored response.

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::{Error, Rejection, Result, TenantId};
use crate::store::{self, Tx};

/// Time for which a response is stored.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// Idempotency key chosen by a client: 1 to 255 visible ASCII characters, quoted or bare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            Ok(Self(text.to_owned()))
        } else {
            Err(Rejection::new("idempotency_key", "must be 1 to 255 visible ASCII characters"))
        }
    }
}

/// Response, either new or stored by an earlier request.
#[derive(Debug)]
pub enum Once<T> {
    First(T),
    Again(T),
}

/// Runs `work` unless this key was used in the last 24 hours. Key and response are stored in the transaction of the
/// work, so a failure leaves nothing.
///
/// # Errors
/// `IdempotencyInFlight` while another request with this key runs. `IdempotencyMismatch` if the key belongs to a
/// different request.
pub fn once<T: Serialize + DeserializeOwned>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    route: &str,
    key: &IdempotencyKey,
    request_hash: &[u8],
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<Once<T>> {
    let now = tx.now;
    let IdempotencyKey(key) = key;
    // Refuse a concurrent request at once: the insert below would wait for the other transaction to end.
    if !store::idempotency_keys::try_hold(tx, tenant, route, key)? {
        return Err(Error::IdempotencyInFlight);
    }
    if !store::idempotency_keys::insert(tx, tenant, route, key, request_hash, now)? {
        let kept = store::idempotency_keys::find(tx, tenant, route, key)?;
        let kept = kept.ok_or(Error::IdempotencyInFlight)?;
        if now < kept.created_at + KEPT {
            if kept.request_hash != request_hash {
                return Err(Error::IdempotencyMismatch);
            }
            let answer = kept.answer.ok_or(Error::IdempotencyInFlight)?;
            return serde_json::from_value(answer).map(Once::Again).map_err(Error::bug);
        }
        // The stored response has expired but is not pruned yet: replace it.
        store::idempotency_keys::delete(tx, tenant, route, key)?;
        store::idempotency_keys::insert(tx, tenant, route, key, request_hash, now)?;
    }
    let answer = work(tx)?;
    let text = serde_json::to_value(&answer).map_err(Error::bug)?;
    store::idempotency_keys::update_answer(tx, tenant, route, key, &text)?;
    Ok(Once::First(answer))
}

/// Result of a request that makes something with a secret. The stored response leaves the secret out.
#[derive(Debug)]
pub enum Told<T> {
    First(T),
    /// Response to an earlier request with this key. It lacks the secret, which was shown only then.
    Again(Value),
}

/// Runs `work` like [`once`], but stores what `shown` makes of the result, without the secret. Later requests get that
/// response unchanged, even if the created thing has changed since.
pub fn tell_once<T>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    (route, (key, hash)): (&str, (&IdempotencyKey, &[u8])),
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    shown: impl FnOnce(&mut Tx<'_>, &T) -> Result<Value>,
) -> Result<Told<T>> {
    let mut made = None;
    let done = once(tx, tenant, route, key, hash, |tx| {
        let fresh = work(tx)?;
        let answer = shown(tx, &fresh)?;
        made = Some(fresh);
        Ok(answer)
    })?;
    match (made, done) {
        (Some(made), _) => Ok(Told::First(made)),
        (None, Once::First(answer) | Once::Again(answer)) if answer.is_object() => Ok(Told::Again(answer)),
        // Earlier versions stored only an id, from which no response can be rebuilt.
        (None, _) => {
            Err(Error::conflict("this request was answered already, and its answer is not kept: look for what it made"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        let parse = |text: &str| IdempotencyKey::parse(text).ok();
        assert_eq!(parse("\"8e03978e\""), parse("8e03978e"));
        assert!(
            parse("").is_none() && parse("\"\"").is_none() && parse("é").is_none() && parse(&"x".repeat(256)).is_none()
        );
    }
}

//! Idempotency: a request with a key of the API, or a form of a page, is processed once. Its repetitions get the stored
//! response.

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

/// Result of work that runs once for all repetitions of a request.
#[derive(Debug)]
pub enum IdempotencyOutcome<T, R = Value> {
    First(T),
    /// Response stored by an earlier request. It lacks any secret, which only that request was shown.
    Again(R),
}

/// Runs `work` unless this key was used in the last 24 hours. Key and response are stored in the transaction of the
/// work, so a failure leaves nothing.
///
/// # Errors
/// `IdempotencyInFlight` while another request with this key runs. `IdempotencyMismatch` if the key belongs to a
/// different request.
pub fn run_once<T: Serialize + DeserializeOwned>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    route: &str,
    key: &IdempotencyKey,
    request_hash: &[u8],
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
) -> Result<IdempotencyOutcome<T, T>> {
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
            return serde_json::from_value(answer).map(IdempotencyOutcome::Again).map_err(Error::bug);
        }
        // The stored response has expired but is not pruned yet: replace it.
        store::idempotency_keys::delete(tx, tenant, route, key)?;
        store::idempotency_keys::insert(tx, tenant, route, key, request_hash, now)?;
    }
    let answer = work(tx)?;
    let text = serde_json::to_value(&answer).map_err(Error::bug)?;
    store::idempotency_keys::update_answer(tx, tenant, route, key, &text)?;
    Ok(IdempotencyOutcome::First(answer))
}

/// Runs `work` like [`run_once`], but stores what `shown` makes of the result, without the secret. Later requests get that
/// response unchanged, even if the created thing has changed since.
pub fn create_once<T>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    (route, (key, hash)): (&str, (&IdempotencyKey, &[u8])),
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    shown: impl FnOnce(&mut Tx<'_>, &T) -> Result<Value>,
) -> Result<IdempotencyOutcome<T>> {
    let mut made = None;
    let done = run_once(tx, tenant, route, key, hash, |tx| {
        let fresh = work(tx)?;
        let answer = shown(tx, &fresh)?;
        made = Some(fresh);
        Ok(answer)
    })?;
    match (made, done) {
        (Some(made), _) => Ok(IdempotencyOutcome::First(made)),
        (None, IdempotencyOutcome::First(answer) | IdempotencyOutcome::Again(answer)) if answer.is_object() => {
            Ok(IdempotencyOutcome::Again(answer))
        }
        // Earlier versions stored only an id, from which no response can be rebuilt.
        (None, _) => Err(Error::conflict(
            "this request was already processed, and its response is not stored: check what it created",
        )),
    }
}

/// Runs `work` unless this form was submitted before. `name` is stored to answer a second submission. The second of
/// two concurrent submissions waits for the first one's transaction.
pub fn submit_once<T>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    form: (&str, &str),
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    name: impl FnOnce(&T) -> String,
) -> Result<IdempotencyOutcome<T, String>> {
    let now = tx.now;
    let (route, nonce) = form;
    if !(16..=64).contains(&nonce.len()) || !nonce.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Err(Error::field(
            "form",
            Rejection::new("nonce", "Open this form again and fill it in: it was not sent from its page."),
        ));
    }
    if store::idempotency_keys::insert(tx, tenant, route, nonce, &[], now)? {
        let made = work(tx)?;
        store::idempotency_keys::update_answer(tx, tenant, route, nonce, &Value::from(name(&made)))?;
        return Ok(IdempotencyOutcome::First(made));
    }
    let kept = store::idempotency_keys::find(tx, tenant, route, nonce)?;
    let answer = kept.and_then(|kept| kept.answer);
    let name = answer.as_ref().and_then(Value::as_str).ok_or_else(|| Error::conflict("this form was already sent"))?;
    Ok(IdempotencyOutcome::Again(name.to_owned()))
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

//! Idempotent forms of pages: a form sent twice acts once.

use serde_json::Value;

use crate::domain::{Error, Rejection, Result, TenantId};
use crate::store::{self, Tx};

/// Result of a form.
#[derive(Debug)]
pub enum Once<T> {
    First(T),
    /// Name of the thing that an earlier submission of this form made.
    Again(String),
}

/// Runs `work` unless this form was submitted before. `name` is stored to answer a second submission. The second of
/// two concurrent submissions waits for the first one's transaction.
pub fn once<T>(
    tx: &mut Tx<'_>,
    tenant: TenantId,
    form: (&str, &str),
    work: impl FnOnce(&mut Tx<'_>) -> Result<T>,
    name: impl FnOnce(&T) -> String,
) -> Result<Once<T>> {
    let now = tx.now;
    let (route, nonce) = form;
    if !(16..=64).contains(&nonce.len()) || !nonce.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Err(Error::field(
            "form",
            Rejection::new("nonce", "Open this form again: it was not sent by its page."),
        ));
    }
    if store::idempotency_keys::insert(tx, tenant, route, nonce, &[], now)? {
        let made = work(tx)?;
        store::idempotency_keys::update_answer(tx, tenant, route, nonce, &Value::from(name(&made)))?;
        return Ok(Once::First(made));
    }
    let kept = store::idempotency_keys::find(tx, tenant, route, nonce)?;
    let answer = kept.and_then(|kept| kept.answer);
    let name = answer.as_ref().and_then(Value::as_str).ok_or_else(|| Error::conflict("this form was sent before"))?;
    Ok(Once::Again(name.to_owned()))
}

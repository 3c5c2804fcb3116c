//! Wire types that several resources share, and helpers to read them.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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

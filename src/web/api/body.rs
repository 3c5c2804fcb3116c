//! Wire types that several resources share, and helpers to read them.

use serde::{Deserialize, Deserializer};

/// Tells an absent field from one that is `null`: `None`, `Some(None)`, `Some(Some(value))`.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

//! The form for a key, as the browser sends it.

use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyForm {
    /// Makes a second sending of the same form make no second key.
    pub nonce: String,
    pub name: String,
    pub description: String,
    pub environment: String,
    pub prefix: String,
    pub owner: String,
    pub requires_owner: bool,
    /// Free ones, one a line.
    pub scopes: String,
    /// Those of Gatepost's own API that were ticked.
    pub own_scopes: Vec<String>,
    /// Days, `never`, or `custom` with `expires_on`.
    pub expiry: String,
    pub expires_on: String,
    pub rate_limit: String,
    pub rate_window_seconds: String,
    pub allowed_ips: String,
    pub tags: String,
    pub metadata: String,
}

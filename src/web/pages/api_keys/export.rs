//! CSV lines of keys (RFC 4180), in which no cell is a formula.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::ApiKey;
use crate::web::view::csv;

/// Header line of the file.
pub const HEAD: &str = "id,key,hint,name,environment,state,owner,tags,scopes,rate_limit,rate_window_seconds,created_at,last_used_at,expires_at,rotated_from,rotated_to,rotates_out_at,revoked_at,revoked_reason,deleted_at\r\n";

/// Returns a key as one line.
pub fn line(key: &ApiKey, now: DateTime<Utc>) -> String {
    let time =
        |at: Option<DateTime<Utc>>| at.map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let number = |id: Option<i64>| id.map_or_else(String::new, |id| id.to_string());
    csv::line(&[
        key.id.to_string(),
        key.public_id.clone(),
        key.hint.clone(),
        key.name.clone(),
        key.environment.to_string(),
        key.state(now).to_string(),
        key.owner.clone().unwrap_or_default(),
        key.tags.join(" "),
        key.scopes.join(" "),
        key.rate_limit.to_string(),
        key.rate_window_seconds.to_string(),
        time(Some(key.created_at)),
        time(key.last_used_at),
        time(key.expires_at),
        number(key.rotation.rotated_from.map(|id| id.0)),
        number(key.rotation.rotated_to.map(|id| id.0)),
        time(key.rotation.rotates_out_at),
        time(key.revoked_at),
        key.revoked_reason.clone().unwrap_or_default(),
        time(key.deleted_at),
    ])
}

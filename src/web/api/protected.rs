//! `/protected/`: sample endpoint to try a key out. It responds from memory, without SQL.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::ApiKeyId;
use crate::web::key_auth::KeyAuth;
use crate::web::problem::Answer;

/// Response to a valid key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Guarded<'a> {
    /// Sentence that confirms the key.
    message: &'static str,
    /// Key that was presented.
    api_key: Shown<'a>,
}

/// Key as this endpoint shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    /// Id of the key.
    id: ApiKeyId,
    /// Name of the key.
    name: &'a str,
    /// Note about the key.
    description: Option<&'a str>,
    /// True if the key is active.
    is_active: bool,
    /// When the key was created (UTC).
    created_at: DateTime<Utc>,
    /// When the key expires (UTC).
    expires_at: Option<DateTime<Utc>>,
    /// Time of the last recorded call (UTC).
    last_used_at: Option<DateTime<Utc>>,
}

pub async fn show(keyed: KeyAuth) -> Answer {
    let key = &keyed.key()?.key;
    let shown = Shown {
        id: key.id,
        name: &key.name,
        description: key.description.as_deref(),
        is_active: key.is_active,
        created_at: key.created_at,
        expires_at: key.expires_at,
        last_used_at: key.last_used_at,
    };
    Ok(HttpResponse::Ok().json(Guarded { message: "This API key is valid", api_key: shown }))
}

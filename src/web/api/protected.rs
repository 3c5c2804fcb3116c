//! `/protected/`: a guarded endpoint that answers from memory alone, for trying a key out.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::ApiKeyId;
use crate::web::gated::Keyed;
use crate::web::problem::Answer;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Guarded<'a> {
    message: &'static str,
    api_key: Shown<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: ApiKeyId,
    name: &'a str,
    description: Option<&'a str>,
    is_active: bool,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

pub async fn show(keyed: Keyed) -> Answer {
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

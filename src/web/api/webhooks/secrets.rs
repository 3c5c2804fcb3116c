//! `/api/webhooks/{id}/secret…`, `/key…` and `/headers`: what signs for a webhook, and what it keeps sealed.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;

use super::{WebhookBody, changed, parse_id};
use crate::domain::{Actor, Error, Rejection, Result};
use crate::services::webhooks::{DEFAULT_OVERLAP, headers, secrets};
use crate::store::Tx;
use crate::web::bearer::Bearer;
use crate::web::json::{Json, NoParameters};
use crate::web::problem::Answer;
use crate::web::state::State;

/// The newest signing secret; looking at it is noted in the audit log.
pub async fn reveal(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let (id, vault) = (parse_id(&id)?, state.vault.clone());
    let reveal = move |tx: &mut Tx<'_>, actor: &Actor| secrets::reveal(tx, &vault, actor, id);
    let secret = changed(&state, &bearer, id, reveal).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({"id": id, "secret": secret.reveal()})))
}

/// The values of its headers; looking at them is noted in the audit log.
pub async fn reveal_headers(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let (id, vault) = (parse_id(&id)?, state.vault.clone());
    let reveal = move |tx: &mut Tx<'_>, actor: &Actor| headers::reveal(tx, &vault, actor, id);
    let values = changed(&state, &bearer, id, reveal).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({"id": id, "headers": values})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotationBody {
    /// How long the old secret signs along: 24 hours by default.
    overlap_seconds: Option<i64>,
    secret: Option<String>,
}

pub async fn rotate(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<RotationBody>) -> Answer {
    let (id, vault) = (parse_id(&id)?, state.vault.clone());
    let (overlap, brought) = (overlap(body.overlap_seconds)?, body.secret);
    let rotate = move |tx: &mut Tx<'_>, actor: &Actor| {
        let made = secrets::rotate(tx, &vault, actor, id, overlap, brought.as_deref())?;
        WebhookBody::revealed(tx, made)
    };
    let made = changed(&state, &bearer, id, rotate).await?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(made))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRotationBody {
    /// How long the old key signs along: 24 hours by default.
    overlap_seconds: Option<i64>,
    /// `whsk_…`; one is made where none is given.
    signing_key: Option<String>,
}

/// A new key pair, or the first one. Its public key is in the answer; nobody needs the private one.
pub async fn rotate_key(
    state: Data<State>,
    bearer: Bearer,
    id: Path<String>,
    Json(body): Json<KeyRotationBody>,
) -> Answer {
    let (id, vault) = (parse_id(&id)?, state.vault.clone());
    let (overlap, brought) = (overlap(body.overlap_seconds)?, body.signing_key);
    let rotate = move |tx: &mut Tx<'_>, actor: &Actor| {
        let webhook = secrets::rotate_key(tx, &vault, actor, id, overlap, brought.as_deref())?;
        WebhookBody::read(tx, webhook)
    };
    Ok(HttpResponse::Ok().json(changed(&state, &bearer, id, rotate).await?))
}

/// No key pair signs any more.
pub async fn remove_key(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    changed(&state, &bearer, id, move |tx, actor| secrets::remove_key(tx, actor, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn overlap(seconds: Option<i64>) -> Result<TimeDelta> {
    let out_of_range =
        || Error::field("overlap_seconds", Rejection::new("range", "must be from 0 to 604800 seconds (7 days)"));
    match seconds {
        Some(seconds) => TimeDelta::try_seconds(seconds).ok_or_else(out_of_range),
        None => Ok(DEFAULT_OVERLAP),
    }
}

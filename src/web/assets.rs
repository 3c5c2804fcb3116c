//! Styles, scripts and images, embedded in the binary.

use actix_web::http::header::{CACHE_CONTROL, ETag, EntityTag, HeaderValue, IF_NONE_MATCH};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, Responder};
use actix_web_rust_embed_responder::{EmbedResponse, IntoResponse};
use rust_embed_for_web::{EmbedableFile, RustEmbed};

use super::problem::{Answer, Problem};
use super::view::sheets::JOINED;
use crate::domain::checksum::crc32;

/// An ETag makes asking again cheap; pages and their styles must never be of two versions.
const REVALIDATED: &str = "public, max-age=0, must-revalidate";

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

/// All style sheets as one: a page waits for one answer, and asks again only whether it has changed.
fn sheet(request: &HttpRequest) -> HttpResponse {
    let tag = EntityTag::new_strong(format!("{:08x}-{}", crc32(JOINED.as_bytes()), JOINED.len()));
    let held = request.headers().get(IF_NONE_MATCH).and_then(|held| held.to_str().ok()).unwrap_or_default();
    let is_held = held.contains(tag.tag());
    let mut answer = if is_held { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header(ETag(tag)).insert_header((CACHE_CONTROL, REVALIDATED));
    if is_held { answer.finish() } else { answer.content_type("text/css; charset=utf-8").body(JOINED) }
}

pub async fn show(request: HttpRequest, path: Path<String>) -> Answer {
    if path.as_str() == "gatepost.css" {
        return Ok(sheet(&request));
    }
    let Some(file) = Static::get(&path) else {
        return Err(Problem::of_status(actix_web::http::StatusCode::NOT_FOUND).into());
    };
    let _ = file.name();
    let answer: EmbedResponse<_> = Some(file).into_response();
    let mut answer: HttpResponse = answer.respond_to(&request).map_into_boxed_body();
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(REVALIDATED));
    Ok(answer)
}

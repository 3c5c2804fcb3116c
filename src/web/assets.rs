//! Styles, scripts and images, embedded in the binary.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, Responder};
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web_rust_embed_responder::{EmbedResponse, IntoResponse};
use rust_embed_for_web::{EmbedableFile, RustEmbed};

use super::problem::{Answer, Problem};

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

pub async fn show(request: HttpRequest, path: Path<String>) -> Answer {
    let Some(file) = Static::get(&path) else {
        return Err(Problem::of_status(actix_web::http::StatusCode::NOT_FOUND).into());
    };
    let _ = file.name();
    let answer: EmbedResponse<_> = Some(file).into_response();
    let mut answer: HttpResponse = answer.respond_to(&request).map_into_boxed_body();
    // An ETag makes asking again cheap; pages and their styles must never be of two versions.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0, must-revalidate"));
    Ok(answer)
}

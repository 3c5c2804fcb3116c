//! Static files: styles, scripts and images, embedded in the binary.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETag, EntityTag, Header, IfNoneMatch};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::problem::{Answer, Problem};
use super::view::sheets::JOINED;
use crate::domain::checksum::crc32;

/// `Cache-Control` of static files. Browsers revalidate by ETag on every load, which is cheap. Caching without a check
/// could mix a new page with an old style sheet after an upgrade.
const REVALIDATED: &str = "public, max-age=0, must-revalidate";

/// Builds a list of pairs: a path below `static/` and the content of that file.
macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../static/", $path)))),*]
    };
}

/// All files except the style sheets, which are joined and served as one.
const FILES: &[(&str, &str)] = embedded![
    "img/chevron.svg",
    "img/favicon.svg",
    "img/logo.svg",
    "js/announce.js",
    "js/bulk.js",
    "js/copy.js",
    "js/dialogs.js",
    "js/focus.js",
    "js/forgets.js",
    "js/gatepost.js",
    "js/hints.js",
    "js/live.js",
    "js/reveal.js",
    "js/scopes.js",
    "js/times.js",
];

/// Returns the content of the file served at `path` below `/static/`.
fn content(path: &str) -> Option<&'static str> {
    if path == "gatepost.css" {
        return Some(JOINED);
    }
    FILES.iter().find(|(name, _)| *name == path).map(|(_, content)| *content)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        _ => "image/svg+xml",
    }
}

/// True if the browser's `If-None-Match` names this ETag, so that its copy is current.
fn is_held(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(held)) => held.iter().any(|held| held.weak_eq(tag)),
        Err(_) => false,
    }
}

/// Serves a file, or responds 304 if the browser already holds this version.
pub async fn show(request: HttpRequest, path: Path<String>) -> Answer {
    let content = content(&path).ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let tag = EntityTag::new_strong(format!("{:08x}-{}", crc32(content.as_bytes()), content.len()));
    let is_held = is_held(&request, &tag);
    let mut answer = if is_held { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    answer.insert_header(ETag(tag)).insert_header((CACHE_CONTROL, REVALIDATED));
    Ok(if is_held { answer.finish() } else { answer.insert_header((CONTENT_TYPE, content_type(&path))).body(content) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_script_and_image_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("static");
        for folder in ["img", "js"] {
            for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
                let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
                assert_eq!(content(&path), Some(fs::read_to_string(entry.path()).unwrap().as_str()), "{path}");
            }
        }
    }
}

//! Error messages for malformed input: the field at fault, and what to write there.

use actix_web::http::StatusCode;
use serde_json::error::Category;

use super::problem::{Fail, Problem};
use crate::domain::{Error, Rejection, text};

/// Returns the error for a field, from its path and serde's message. That message names a missing or unknown field.
pub fn field(path: &str, says: &str) -> Error {
    let says = says.split(" at line ").next().unwrap_or_default();
    let parent = if path == "." { "" } else { path };
    let inside = |name: &str| match parent {
        "" => name.to_owned(),
        _ if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        _ => format!("{parent}.{name}"),
    };
    let named = |prefix: &str| says.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    if let Some(name) = named("missing field `") {
        return Error::field(inside(name), Rejection::required());
    }
    if let Some(name) = named("duplicate field `") {
        return Error::field(inside(name), Rejection::new("duplicate", ONCE));
    }
    if let Some(name) = named("unknown field `") {
        return Error::field(inside(name), Rejection::new("unknown", "is not a field of this request"));
    }
    let field = if parent.is_empty() { "body" } else { parent };
    if says == REPEATED {
        return Error::field(field, Rejection::new("duplicate", ONCE));
    }
    Error::field(field, Rejection::new("type", text::plain_parse_error(&plain(says))))
}

const ONCE: &str = "must be given once";
/// Message of `serde_html_form` for a list where one value is expected.
const REPEATED: &str = "unsupported value";

/// Translates serde's Rust terms in a message into JSON terms.
fn plain(says: &str) -> String {
    let (said, expected) = says.rsplit_once("expected ").unwrap_or((says, ""));
    let expected = match expected {
        "" => return says.to_owned(),
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
        kind if kind.starts_with("\"true\"") => "true or false",
        kind if kind.starts_with("struct ") => "an object",
        kind if kind.starts_with('f') && kind.len() == 3 => "a number",
        kind if kind.starts_with(['i', 'u']) && kind.len() <= 5 => "a whole number",
        kind => kind,
    };
    let said = said
        .replace("invalid type: sequence", "invalid type: array")
        .replace("invalid type: map", "invalid type: object");
    format!("{said}expected {expected}")
}

/// Returns the error for a body that is not UTF-8, which RFC 8259, section 8.1 requires of JSON.
pub fn not_utf8(body: &[u8], at: usize) -> Fail {
    let before = body.get(..at).unwrap_or_default();
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let column = lines.next().map_or(0, <[u8]>::len) + 1;
    malformed(lines.count() + 1, column, encoding(body).or(Some("the body has to be UTF-8")))
}

/// Returns the error for a body that is not JSON, with the likely cause.
pub fn not_json(body: &[u8], error: &serde_json::Error) -> Fail {
    let says = error.to_string();
    let reason = match error.classify() {
        _ if encoding(body).is_some() => encoding(body),
        Category::Eof => Some("the text ends too early"),
        _ if says.starts_with("trailing comma") || is_after_comma(body, error) => {
            Some("remove the comma before the bracket")
        }
        _ if says.starts_with("trailing characters") => Some("nothing may follow the JSON value"),
        _ if says.starts_with("key must be a string") => Some("names stand in double quotes"),
        _ if says.starts_with("expected value") => Some("a JSON value is expected"),
        _ => None,
    };
    malformed(error.line(), error.column(), reason)
}

/// True if a closing bracket stands where another field or item is expected.
fn is_after_comma(body: &[u8], error: &serde_json::Error) -> bool {
    let line = body.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let (before, rest) = line.split_at_checked(error.column().saturating_sub(1)).unwrap_or_default();
    matches!(rest.first(), Some(b'}' | b']')) && before.trim_ascii_end().ends_with(b",")
}

/// Returns the likely encoding of a body that is not UTF-8 text.
fn encoding(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("the body is compressed with gzip: send it as it is"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("the body is compressed with zstd: send it as it is"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, _, ..] | [_, 0, ..] => {
            Some("the body is UTF-16 or UTF-32: send UTF-8")
        }
        _ => None,
    }
}

fn malformed(line: usize, column: usize, reason: Option<&str>) -> Fail {
    let place = format!("the body is not JSON: line {line}, column {column}");
    let says = reason.map_or_else(|| place.clone(), |reason| format!("{place}: {reason}"));
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", says).into()
}

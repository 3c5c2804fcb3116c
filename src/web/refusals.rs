//! Error messages for malformed input: the field at fault, and what to write there.

use actix_web::http::StatusCode;

use super::problem::{Fail, Problem};
use crate::domain::{Error, Rejection, text};

/// Returns the error for a field, from its path and serde's message. That message names a missing or unknown field.
pub fn field(path: &str, says: &str) -> Error {
    let says = without_place(says);
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

/// Removes the line and column that `serde_json` adds to its sentences.
fn without_place(says: &str) -> &str {
    let (before, place) = says.rsplit_once(" at line ").unwrap_or((says, ""));
    let is_place = place.split(" column ").all(|number| number.parse::<usize>().is_ok());
    if is_place { before } else { says }
}

/// Translates serde's message about a Rust type into what the client must write.
fn plain(says: &str) -> String {
    const FAULTS: [&str; 4] = ["invalid type: ", "invalid value: ", "invalid length ", "unknown variant "];
    let Some((fault, found)) = FAULTS.iter().find_map(|fault| Some((*fault, says.strip_prefix(fault)?))) else {
        return says.to_owned();
    };
    let Some((found, expected)) = found.rsplit_once(", expected ") else {
        return "has another kind of value".to_owned();
    };
    if fault == "unknown variant " {
        let choices: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        return format!("must be one of {}", choices.join(", "));
    }
    match expected {
        kind if is_integer(kind) => whole_number(found, fault == "invalid value: ", kind.starts_with('u')).to_owned(),
        "a string" | "a borrowed string" | "string" => "must be text".to_owned(),
        "a sequence" => "must be an array".to_owned(),
        "a map" => "must be an object".to_owned(),
        "a boolean" => "must be true or false".to_owned(),
        "f32" | "f64" => "must be a number".to_owned(),
        kind if kind.starts_with("\"true\"") => "must be true or false".to_owned(),
        kind if kind.starts_with("struct ") => "must be an object".to_owned(),
        kind => format!("must be {kind}"),
    }
}

fn is_integer(kind: &str) -> bool {
    kind.strip_prefix(['i', 'u']).is_some_and(|bits| bits.parse::<u32>().is_ok())
}

/// Refuses a number in words. JSON numbers beyond 64 bits arrive as floating point.
fn whole_number(found: &str, is_out_of_range: bool, is_unsigned: bool) -> &'static str {
    let number = found.split('`').nth(1).and_then(|number| number.parse::<f64>().ok()).unwrap_or_default();
    match is_out_of_range || BEYOND_64_BITS <= number.abs() {
        true if 0.0 <= number => "is too large",
        true if is_unsigned => "must be 0 or more",
        true => "is too small",
        false => "must be a whole number",
    }
}

/// 2^63: the first number that an `i64` cannot hold.
const BEYOND_64_BITS: f64 = 9_223_372_036_854_775_808.0;

/// Returns the error for a body that is not UTF-8, which RFC 8259, section 8.1 requires of JSON.
pub fn not_utf8(body: &[u8], at: usize) -> Fail {
    let before = body.get(..at).unwrap_or_default();
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let column = lines.next().map_or(0, <[u8]>::len) + 1;
    malformed(lines.count() + 1, column, encoding(body).or(Some("the body has to be UTF-8")))
}

/// Returns the error for a body that is not JSON, with the likely cause.
pub fn not_json(body: &[u8], error: &serde_json::Error) -> Fail {
    let reason = form_instead(body).or_else(|| encoding(body)).unwrap_or_else(|| text::json_fault(body, error));
    malformed(error.line(), error.column(), Some(reason))
}

/// Recognizes bodies of other formats by their first bytes.
fn form_instead(body: &[u8]) -> Option<&'static str> {
    let body = body.trim_ascii_start();
    let name = body.split(|byte| *byte == b'=').next().unwrap_or_default();
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+%[]".contains(byte);
    match body {
        [b'-', b'-', ..] => Some("the body is a multipart form: send JSON"),
        [b'<', ..] => Some("the body is XML or HTML: send JSON"),
        [first, ..] if first.is_ascii_alphabetic() && name.len() < body.len() && name.iter().all(is_name) => {
            Some("the body is a form: send JSON, as in {\"name\": \"value\"}")
        }
        _ => None,
    }
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

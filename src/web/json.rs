//! JSON bodies and query strings of the API, with errors that name the field.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::{StreamExt, poll};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::object::Object;
use super::problem::{Answer, Fail, Problem};
use super::state::State;
use super::tenant_ask;
use crate::domain::text::{self, DEEPEST};
use crate::domain::{Error, Rejection};

/// Bytes of a body that an ordinary route takes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Bytes of a body that publishing takes, and a form.
pub const LARGE_BODY_LIMIT: usize = 1024 * 1024;

static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON body of at most `LIMIT` bytes. An empty one is read as `{}`.
pub struct Json<T, const LIMIT: usize = BODY_LIMIT>(pub T);

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest for Json<T, LIMIT> {
    type Error = Fail;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Fail>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (accepted, deadline) = (accept(request.head()), deadline_of(request));
        let payload = payload.take();
        Box::pin(async move {
            accepted?;
            Ok(Self(parse(&read(payload, LIMIT, deadline).await?)?))
        })
    }
}

/// The same for a request that no route was looked up for.
pub async fn body<T: DeserializeOwned>(head: &RequestHead, payload: Payload, deadline: Duration) -> Result<T, Fail> {
    accept(head)?;
    parse(&read(payload, BODY_LIMIT, deadline).await?)
}

/// `curl -d` says `application/x-www-form-urlencoded` and means JSON.
fn accept(head: &RequestHead) -> Result<(), Fail> {
    let Some(value) = head.headers.get(CONTENT_TYPE) else { return Ok(()) };
    if value == JSON {
        return Ok(());
    }
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.ends_with("+json") || kind == "application/x-www-form-urlencoded";
    if is_json || kind.is_empty() {
        return Ok(());
    }
    let says = format!("the content type {kind} is not understood: send application/json");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says).into())
}

/// Answers 200 with a body of JSON.
pub fn ok(body: &impl Serialize) -> Answer {
    // Most answers fit, so that nothing is moved while they grow.
    let mut text = Vec::with_capacity(2048);
    serde_json::to_writer(&mut text, body).map_err(|cause| Error::bug(cause.to_string()))?;
    Ok(printed(text))
}

/// The same for one that is printed already.
pub fn printed(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON.clone())).body(body)
}

/// How long a client may take to send its body.
pub fn deadline_of(request: &HttpRequest) -> Duration {
    let usual = Duration::from_secs(30);
    request.app_data::<Data<State>>().map_or(usual, |state| state.settings.request_deadline)
}

/// Reads a body, refusing it as soon as it is over the limit, or takes too long.
pub async fn read(payload: Payload, limit: usize, deadline: Duration) -> Result<Bytes, Fail> {
    let mut reading = pin!(read_all(payload, limit));
    // Most bodies came with their head, and are there at the first or the second look: those cost no timer.
    for _ in 0..2 {
        if let Poll::Ready(read) = poll!(&mut reading) {
            return read;
        }
        next_poll().await;
    }
    Box::pin(timeout(deadline, reading)).await.unwrap_or_else(|_| {
        let says = "the body took too long to arrive";
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", says).header(CONNECTION, "close").into())
    })
}

/// Until this task is polled again, which is at once.
async fn next_poll() {
    let mut is_next = false;
    poll_fn(|context| match std::mem::replace(&mut is_next, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

async fn read_all(mut payload: Payload, limit: usize) -> Result<Bytes, Fail> {
    // Most come in one piece, which is not copied.
    let mut body = Bytes::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::of_status(StatusCode::BAD_REQUEST))?;
        if limit < body.len().saturating_add(chunk.len()) {
            let says = format!("the body is larger than {} KiB", limit / 1024);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", says).into());
        }
        body = if body.is_empty() { chunk } else { joined(body, &chunk) };
    }
    Ok(body)
}

/// In place, where the bytes before are nobody else's.
fn joined(body: Bytes, chunk: &[u8]) -> Bytes {
    let mut whole = BytesMut::from(body);
    whole.extend_from_slice(chunk);
    whole.freeze()
}

/// Unparseable text is 400; JSON that does not fit is 422 and names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fail> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    // A body of so many bytes cannot be deeper.
    if DEEPEST < body.len() && DEEPEST < text::json_depth(body) {
        let says = format!("the body is nested deeper than {DEEPEST} levels");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_json", says).into());
    }
    if let Ok(Object(parsed)) = serde_json::from_slice(body) {
        return Ok(parsed);
    }
    // What is refused is read again, slowly, for a refusal that says where: all of the text first, so that what is not
    // JSON is 400 even where a field is missing too.
    let text = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| malformed(error.line(), error.column()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map(|Object(parsed)| parsed).map_err(|error| {
        let says = error.inner().to_string();
        let says = says.split(" at line ").next().unwrap_or_default();
        field_refusal(&error.path().to_string(), says).into()
    })
}

/// serde names a missing or unknown field in its sentence, and the object that lacks it in its path.
fn field_refusal(path: &str, says: &str) -> Error {
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
        return Error::field(inside(name), Rejection::new("duplicate", "must be given once"));
    }
    if let Some(name) = named("unknown field `") {
        return Error::field(inside(name), Rejection::new("unknown", "is not a field of this request"));
    }
    let field = if parent.is_empty() { "body" } else { parent };
    Error::field(field, Rejection::new("type", plain(says)))
}

/// In words of JSON, where serde says how a value is kept here.
fn plain(says: &str) -> String {
    let (said, expected) = says.rsplit_once("expected ").unwrap_or((says, ""));
    let expected = match expected {
        "" => return says.to_owned(),
        "a sequence" => "an array",
        "a map" => "an object",
        "a boolean" => "true or false",
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

/// JSON is UTF-8 (RFC 8259, section 8.1).
fn not_utf8(body: &[u8], at: usize) -> Fail {
    let before = body.get(..at).unwrap_or_default();
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let column = lines.next().map_or(0, <[u8]>::len) + 1;
    malformed(lines.count() + 1, column)
}

fn malformed(line: usize, column: usize) -> Fail {
    let says = format!("the body is not JSON: line {line}, column {column}");
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", says).into()
}

/// The query string, with the same rules for fields that do not fit. Where a tenant can be named, every route takes that:
/// it is left to who finds out who asks.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Fail;
    type Future = std::future::Ready<Result<Self, Fail>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = tenant_ask::left_out(request.query_string());
        let reader = serde_html_form::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
        let parsed = serde_path_to_error::deserialize(reader).map(Self);
        std::future::ready(parsed.map_err(|error| {
            let path = error.path().to_string();
            field_refusal(&path, &error.inner().to_string()).into()
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Ask {
        name: String,
        #[serde(default)]
        events: Vec<String>,
    }

    fn refused(body: &str) -> (u16, String) {
        let problem = parse::<Ask>(body.as_bytes()).unwrap_err().problem;
        (problem.status.as_u16(), problem.errors.iter().map(|error| error.field.clone()).collect())
    }

    #[test]
    fn what_is_nested_too_deep_is_not_read() {
        let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let body = |levels| format!(r#"{{"name": {}}}"#, nested(levels));
        assert_eq!((refused(&body(63)).0, refused(&body(64)).0), (422, 400));
        assert_eq!(refused(&body(100_000)).0, 400);
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(refused("{"), (400, String::new()));
        assert_eq!(refused("{} x"), (400, String::new()));
        assert_eq!(refused(r#"{"name": "a"} x"#), (400, String::new()));
        assert_eq!(refused("{}"), (422, "name".into()));
        assert_eq!(refused(""), (422, "name".into()));
        assert_eq!(refused(r#"{"name": 7}"#), (422, "name".into()));
        assert_eq!(refused(r#"{"name": "a", "role": "x"}"#), (422, "role".into()));
        assert_eq!(refused(r#"{"name": "a", "events": ["x", 7]}"#), (422, "events[1]".into()));
        assert_eq!(refused("[]"), (422, "body".into()));
    }
}

//! JSON bodies and query strings of the API. Errors name the field at fault.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use actix_web::dev::{Payload, RequestHead};
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt, poll};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::timeout;

use super::json_object::JsonObject;
use super::problem::{Answer, Fail, Problem};
use super::state::State;
use super::{refusals, tenant_param};
use crate::domain::text::{self, DEEPEST};
use crate::domain::{Error, Rejection};

/// Maximum body size of ordinary routes, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Maximum body size of event publication and of forms, in bytes.
pub const LARGE_BODY_LIMIT: usize = 1024 * 1024;

/// UTF-8 byte order mark, skipped at the beginning of a body as RFC 8259, section 8.1 allows.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

static JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Extractor for a JSON body of at most `LIMIT` bytes. An empty body is read as `{}`.
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

/// Reads a JSON body without routing, for `web::direct`. Rules are those of [`Json`].
pub async fn body<T: DeserializeOwned>(
    head: &RequestHead,
    payload: &mut Payload,
    deadline: Duration,
) -> Result<T, Fail> {
    accept(head)?;
    parse(&read(payload, BODY_LIMIT, deadline).await?)
}

/// Refuses a body with `Content-Encoding`, since the server decompresses nothing.
pub fn must_be_plain(head: &RequestHead) -> Result<(), Fail> {
    let Some(value) = head.headers.get(CONTENT_ENCODING) else { return Ok(()) };
    let coding = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    if matches!(&*coding, "" | "identity") {
        return Ok(());
    }
    let says = format!("Content-Encoding {coding} is not supported: send the body as it is, without this header");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says).into())
}

/// Checks the body's content type. Accepts `application/x-www-form-urlencoded` too: `curl -d` sends it with JSON.
fn accept(head: &RequestHead) -> Result<(), Fail> {
    must_be_plain(head)?;
    let Some(value) = head.headers.get(CONTENT_TYPE) else { return Ok(()) };
    if value == JSON {
        return Ok(());
    }
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let (kind, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let kind = kind.trim();
    let charset = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="));
    if let Some(charset) = charset.map(|charset| charset.trim_matches('"'))
        && !["utf-8", "utf8", "us-ascii"].contains(&charset)
    {
        let says = format!("Content-Type charset={charset} is not supported: send JSON in UTF-8");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says).into());
    }
    let is_json = kind == "application/json" || kind.ends_with("+json") || kind == "application/x-www-form-urlencoded";
    if is_json || kind.is_empty() {
        return Ok(());
    }
    let says = format!("the content type {kind} is not supported: send application/json");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", says).into())
}

/// Responds 200 with a JSON body.
pub fn ok(body: &impl Serialize) -> Answer {
    // Most bodies fit into this capacity, so that the buffer is not reallocated while it grows.
    let mut text = Vec::with_capacity(2048);
    serde_json::to_writer(&mut text, body).map_err(|cause| Error::bug(cause.to_string()))?;
    Ok(printed(text))
}

/// Responds 200 with a body that is already JSON text.
pub fn printed(body: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, JSON.clone())).body(body)
}

/// Returns how long a client may take to send its body.
pub fn deadline_of(request: &HttpRequest) -> Duration {
    let usual = Duration::from_secs(30);
    request.app_data::<Data<State>>().map_or(usual, |state| state.settings.request_deadline)
}

/// Reads a body. Refuses it as soon as it exceeds `limit` bytes or takes longer than `deadline`.
pub async fn read(
    payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Fail> {
    let mut reading = pin!(read_all(payload, limit));
    // Poll twice before starting a timer: most bodies arrive with their head and are complete by then.
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

/// Waits until this task is polled again, which is immediately. Meanwhile the HTTP server reads a body that came with
/// its head.
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

async fn read_all(
    mut payload: impl Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    limit: usize,
) -> Result<Bytes, Fail> {
    // Most bodies come in one chunk, which is then used without a copy.
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

/// Appends a chunk, in place if no other reference to the buffer exists.
fn joined(body: Bytes, chunk: &[u8]) -> Bytes {
    let mut whole = BytesMut::from(body);
    whole.extend_from_slice(chunk);
    whole.freeze()
}

/// Parses a body. Text that is not JSON gives 400. JSON that does not fit the type gives 422 and names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fail> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    // A body of at most `DEEPEST` bytes cannot be nested deeper, so the depth is not counted.
    if DEEPEST < body.len() && DEEPEST < text::json_depth(body) {
        let says = format!("the body is nested deeper than {DEEPEST} levels");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "malformed_json", says).into());
    }
    if let Ok(JsonObject(parsed)) = serde_json::from_slice(body) {
        return Ok(parsed);
    }
    // Parse a refused body again, slowly, to find the place of the error. Check the syntax of the whole text first:
    // invalid JSON must give 400 even if a field is missing too.
    let text = std::str::from_utf8(body).map_err(|error| refusals::not_utf8(body, error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| refusals::not_json(body, &error))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut reader).map(|JsonObject(parsed)| parsed);
    parsed.map_err(|error| refusals::field(&error.path().to_string(), &error.inner().to_string()).into())
}

/// Extractor for the query string, with field errors like those of a body. Leaves out the tenant parameters, which
/// authentication reads on every route.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Fail;
    type Future = std::future::Ready<Result<Self, Fail>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = tenant_param::left_out(request.query_string());
        std::future::ready(pairs(query.as_bytes()).map(Self).map_err(Fail::from))
    }
}

/// Parses the name-value pairs of a query or a form.
pub fn pairs<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    let reader = serde_html_form::Deserializer::new(url::form_urlencoded::parse(text));
    let parsed = serde_path_to_error::deserialize(reader);
    parsed.map_err(|error| refusals::field(&error.path().to_string(), &error.inner().to_string()))
}

/// Extractor for a query that may contain no parameter except the tenant.
pub struct NoParameters;

impl FromRequest for NoParameters {
    type Error = Fail;
    type Future = std::future::Ready<Result<Self, Fail>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = tenant_param::left_out(request.query_string());
        let first = url::form_urlencoded::parse(query.as_bytes()).next().map(|(name, _)| name.into_owned());
        std::future::ready(first.map_or(Ok(Self), |name| {
            Err(Error::field(name, Rejection::new("unknown", "is not a parameter of this request")).into())
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
    fn a_body_nested_too_deep_is_not_parsed() {
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

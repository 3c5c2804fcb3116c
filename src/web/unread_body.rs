//! Reads what a handler left of its request's body, since the HTTP server closes a connection on which part of a request is
//! still to come. Clients such as Java's send the body in a segment of its own, after the head.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::Request;
use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::timeout;

/// Bytes of an unread body beyond which closing the connection is cheaper than reading on.
const LIMIT: usize = 64 * 1024;
/// Time in which the rest of an unread body must arrive.
const DEADLINE: Duration = Duration::from_secs(1);

/// Body that a handler reads first, and [`drain`] afterwards.
#[derive(Clone)]
pub struct SharedBody(Rc<RefCell<Payload>>);

impl Stream for SharedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.borrow_mut().poll_next_unpin(context)
    }
}

/// Leaves a body with its request and returns a second handle to it. Returns nothing for a request without a body, and for
/// one whose body is too large to be drained.
pub fn share(request: &mut Request) -> Option<SharedBody> {
    let length = request.head().headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if matches!(request.payload(), Payload::None) || length.is_some_and(|length: usize| LIMIT < length) {
        return None;
    }
    let body = SharedBody(Rc::new(RefCell::new(request.take_payload())));
    *request.payload() = Payload::Stream { payload: Box::pin(body.clone()) };
    Some(body)
}

/// Reads and drops the rest of a body. Gives up beyond `LIMIT` and after `DEADLINE`.
pub async fn drain(body: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin)) {
    // Handlers have usually read the whole body: then no timer is needed.
    if !matches!(body.next().now_or_never(), Some(None | Some(Err(_)))) {
        Box::pin(timeout(DEADLINE, rest(body))).await.ok();
    }
}

async fn rest(body: &mut (impl Stream<Item = Result<Bytes, PayloadError>> + Unpin)) {
    let mut size = 0_usize;
    while let Some(Ok(chunk)) = body.next().await {
        size = size.saturating_add(chunk.len());
        if LIMIT < size {
            return;
        }
    }
}

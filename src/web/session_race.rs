//! Session cookies of racing requests: if another request renewed the session's key meanwhile, this response sets no
//! cookie, so that the browser keeps the newer key.

use std::cell::Cell;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::SET_COOKIE;
use actix_web::middleware::Next;

tokio::task_local! {
    static IS_OVERTAKEN: Cell<bool>;
}

/// Middleware around the session middleware. Removes the session cookie, which that middleware always sets, if the
/// request was overtaken.
pub async fn pass<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let answer = async {
        let mut response = next.call(request).await?;
        if IS_OVERTAKEN.with(Cell::get) {
            response.headers_mut().remove(SET_COOKIE);
        }
        Ok(response)
    };
    IS_OVERTAKEN.scope(Cell::new(false), answer).await
}

/// Marks the request in progress as overtaken.
pub fn note() {
    // The error means that no request is running, and so no cookie is set.
    let _ = IS_OVERTAKEN.try_with(|is| is.set(true));
}

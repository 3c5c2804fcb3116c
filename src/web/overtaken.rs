//! Requests whose session got a newer key from another request meanwhile: their cookie must not take the place of that.

use std::cell::Cell;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::SET_COOKIE;
use actix_web::middleware::Next;

tokio::task_local! {
    static IS_OVERTAKEN: Cell<bool>;
}

/// Around what sets the cookie of the session, which always sets one.
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

/// Says so of the request that is answered just now.
pub fn note() {
    // Outside of a request there is no cookie.
    let _ = IS_OVERTAKEN.try_with(|is| is.set(true));
}

//! Protection of forms against other sites: a token bound to the session, and the browser's own word.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{HOST, ORIGIN};
use subtle::ConstantTimeEq;

use super::problem::{Fail, Problem};
use crate::domain::{Error, Result};
use crate::services::random_token;

/// The session's entry for its token.
pub const KEY: &str = "csrf";
/// The name of the hidden field that every form carries.
pub const FIELD: &str = "_csrf";

/// The session's token, made when first asked for.
pub fn token(session: &Session) -> Result<String> {
    if let Some(token) = session.get::<String>(KEY).map_err(|error| Error::bug(error.to_string()))? {
        return Ok(token);
    }
    let token = random_token()?;
    session.insert(KEY, &token).map_err(|error| Error::bug(error.to_string()))?;
    Ok(token)
}

/// A new token, for a session that has just changed its rights.
pub fn renew(session: &Session) {
    session.remove(KEY);
}

/// Refuses a form that another site sent, or that carries no token of this session.
pub fn check(request: &HttpRequest, session: &Session, presented: Option<&str>) -> Result<(), Fail> {
    let expected = session.get::<String>(KEY).ok().flatten();
    let is_ours = match (expected, presented) {
        (Some(expected), Some(presented)) => bool::from(expected.as_bytes().ct_eq(presented.as_bytes())),
        _ => false,
    };
    if is_ours && is_same_site(request) {
        return Ok(());
    }
    let says = "this form has expired or came from another site: go back, reload the page and try again";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into())
}

/// `Sec-Fetch-Site` where the browser sends it, else `Origin`; neither means an old browser or a program.
fn is_same_site(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    match (header("sec-fetch-site"), header(ORIGIN.as_str())) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == header(HOST.as_str())
        }
        (None, None) => true,
    }
}

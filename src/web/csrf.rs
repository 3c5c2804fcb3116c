//! Protection of forms against cross-site requests: a token bound to the session, and the browser's origin headers.

use actix_session::Session;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::ORIGIN;
use actix_web::web::Data;
use subtle::ConstantTimeEq;
use url::Url;

use super::base::{self, Reached};
use super::problem::{Fail, Problem};
use super::state::State;
use crate::domain::{Error, Result};
use crate::services::random_token;

/// Session entry: the CSRF token.
pub const KEY: &str = "csrf";
/// Name of the hidden field that every form carries.
pub const FIELD: &str = "_csrf";

/// Returns the session's token, and creates it on first use.
pub fn token(session: &Session) -> Result<String> {
    if let Some(token) = session.get::<String>(KEY).map_err(|error| Error::bug(error.to_string()))? {
        return Ok(token);
    }
    let token = random_token()?;
    session.insert(KEY, &token).map_err(|error| Error::bug(error.to_string()))?;
    Ok(token)
}

/// Drops the token, so that the next page creates a new one. Called after the session's rights changed.
pub fn renew(session: &Session) {
    session.remove(KEY);
}

/// Refuses a form that another site sent, or that lacks this session's token.
pub fn check(request: &HttpRequest, session: &Session, presented: Option<&str>) -> Result<(), Fail> {
    if let Some(says) = foreign(request) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into());
    }
    let expected = session.get::<String>(KEY).ok().flatten();
    let is_ours = match (expected, presented) {
        // Compare in constant time, so that timing reveals no part of the token.
        (Some(expected), Some(presented)) => bool::from(expected.as_bytes().ct_eq(presented.as_bytes())),
        _ => false,
    };
    if is_ours {
        return Ok(());
    }
    let says = "this form has expired or came from another site: go back, reload the page and try again";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", says).into())
}

/// Returns the reason if another site sent this form. `Sec-Fetch-Site` decides if present, else `Origin`. A request
/// with neither passes: an old browser or a program sent it, and the token still protects.
fn foreign(request: &HttpRequest) -> Option<String> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    match (header("sec-fetch-site"), header(ORIGIN.as_str())) {
        (Some("same-origin" | "none"), _) | (None, None) => None,
        (Some(_), _) => {
            Some("this form came from another site: open this instance's own page and try again".to_owned())
        }
        (None, Some(origin)) => foreign_origin(request, origin),
    }
}

fn foreign_origin(request: &HttpRequest, origin: &str) -> Option<String> {
    let state = request.app_data::<Data<State>>()?;
    let head = request.head();
    let (configured, reached) = (base::configured(state), Reached::by(head, state));
    let sent_from = base::plain(origin);
    if let Some(sent_from) = &sent_from {
        let mut own = configured.cloned().into_iter().chain(reached.urls(sent_from.scheme()));
        if own.any(|own| base::is_same_origin(&own, sent_from)) {
            return None;
        }
    }
    let sent_from = sent_from.map_or_else(|| "an unknown page".to_owned(), |url| shown(&url));
    let received = reached.urls("http").next().map_or_else(|| "no host".to_owned(), |url| shown(&url));
    let configured = configured.map_or_else(|| "not set".to_owned(), shown);
    let forwarder = head.peer_addr.filter(|_| reached.is_forwarder_untrusted).map(|peer| peer.ip());
    let forwarder = forwarder.map_or_else(String::new, |peer| {
        format!(
            ". Headers X-Forwarded-* from {peer} were ignored: if that is your proxy, an administrator can add it to \
             GATEPOST_TRUSTED_PROXIES"
        )
    });
    Some(format!(
        "this form came from {sent_from}, which is not an address of this instance. The request named {received}, and \
         GATEPOST_PUBLIC_URL is {configured}. If you opened this page at its right address, an administrator has to set \
         GATEPOST_PUBLIC_URL to that address{forwarder}"
    ))
}

fn shown(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

//! What a gateway is told: who it is, for the API behind it; or why not, in terms that it understands.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};

use crate::domain::{Error, Result};
use crate::gate::Decision;
use crate::web::problem::{Answer, Fail, Problem};

const REAL_STATUS: HeaderName = HeaderName::from_static("x-auth-status");

/// What the gateway hands on to the API behind it.
pub const IDENTITY: [&str; 5] =
    ["X-Gatepost-Key-Id", "X-Gatepost-Tenant", "X-Gatepost-User", "X-Gatepost-Scopes", "X-Gatepost-Environment"];

/// The same, as they are sent.
static SENT: [HeaderName; 5] = [
    HeaderName::from_static("x-gatepost-key-id"),
    HeaderName::from_static("x-gatepost-tenant"),
    HeaderName::from_static("x-gatepost-user"),
    HeaderName::from_static("x-gatepost-scopes"),
    HeaderName::from_static("x-gatepost-environment"),
];

/// All of them are always there, if only empty: each overwrites what a client may have put in its place.
pub fn allowed(decision: &Decision) -> Result<HttpResponse> {
    let known = decision.known().ok_or_else(|| Error::bug("a valid decision has its key"))?;
    let values = [
        known.key.public_id.clone(),
        known.tenant_slug.clone(),
        known.key.user_id.map(|user| user.to_string()).unwrap_or_default(),
        known.scopes.as_slice().join(" "),
        known.key.environment.to_string(),
    ];
    let mut answer = HttpResponse::Ok();
    for (name, value) in SENT.iter().zip(values) {
        answer.insert_header((name.clone(), value));
    }
    Ok(answer.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store"))).finish())
}

/// nginx's `auth_request` knows 2xx, 401 and 403, and makes a 500 of everything else: whatever else is meant becomes
/// a 403 by status and title, and `X-Auth-Status` says what it is.
pub fn in_nginx_terms(answer: Answer) -> Answer {
    match answer {
        Ok(mut answer) => {
            let status = HeaderValue::from(answer.status().as_u16());
            answer.headers_mut().insert(REAL_STATUS, status);
            Ok(answer)
        }
        Err(Fail { mut problem, cause }) => {
            problem.headers.push((REAL_STATUS, HeaderValue::from(problem.status.as_u16())));
            if problem.status != StatusCode::UNAUTHORIZED {
                let Problem { status, title, .. } = Problem::of_status(StatusCode::FORBIDDEN);
                (problem.status, problem.title) = (status, title);
            }
            Err(Fail { problem, cause })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_is_documented() {
        assert_eq!(
            SENT.each_ref().map(HeaderName::as_str),
            IDENTITY.map(str::to_ascii_lowercase).each_ref().map(String::as_str)
        );
    }
}

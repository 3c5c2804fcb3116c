//! Response to a gateway: the key's identity for the API behind it, or the refusal in a form that the gateway
//! understands.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};

use crate::domain::{Error, Result};
use crate::gate::Decision;
use crate::web::problem::{Answer, Fail, Problem};

/// Header with the decided status, for nginx, which gets another one.
const REAL_STATUS: HeaderName = HeaderName::from_static("x-auth-status");

/// Response headers that the gateway passes on to the API behind it.
pub const IDENTITY: [&str; 5] =
    ["X-Gatepost-Key-Id", "X-Gatepost-Tenant", "X-Gatepost-User", "X-Gatepost-Scopes", "X-Gatepost-Environment"];

/// [`IDENTITY`] as header names for responses.
static SENT: [HeaderName; 5] = [
    HeaderName::from_static("x-gatepost-key-id"),
    HeaderName::from_static("x-gatepost-tenant"),
    HeaderName::from_static("x-gatepost-user"),
    HeaderName::from_static("x-gatepost-scopes"),
    HeaderName::from_static("x-gatepost-environment"),
];

/// Returns the response for an admitted key. Every identity header is set, even if empty, so that it overwrites what a
/// client sent under that name.
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

/// Translates a response for nginx, whose `auth_request` knows only 2xx, 401 and 403 and turns others into 500. Other
/// refusals get status and title of 403; `X-Auth-Status` has the decided status.
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
    fn sent_headers_are_the_documented_ones() {
        assert_eq!(
            SENT.each_ref().map(HeaderName::as_str),
            IDENTITY.map(str::to_ascii_lowercase).each_ref().map(String::as_str)
        );
    }
}

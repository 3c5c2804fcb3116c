//! Refusals of API keys (docs/api.md). Unknown and malformed keys get identical responses.

use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

use super::rate_headers;
use crate::domain::usage::Outcome;
use crate::gate::Decision;
use crate::web::problem::Problem;

/// Authentication scheme for `WWW-Authenticate`.
pub const REALM: &str = "Bearer realm=\"gatepost\"";
/// Problem type registered by draft-ietf-httpapi-ratelimit-headers-10.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Returns the problem for a missing credential. It has no error code, so that clients know to present one (RFC 6750,
/// section 3.1).
pub fn required() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "api_key_required", "API key required").header(WWW_AUTHENTICATE, REALM)
}

/// Returns the problem for two different credentials in one request.
pub fn conflict() -> Problem {
    let says = "two different credentials were presented: send one";
    Problem::new(StatusCode::BAD_REQUEST, "conflicting_credentials", says)
        .header(WWW_AUTHENTICATE, format!("{REALM}, error=\"invalid_request\""))
}

/// Returns the problem for a decision, or `None` for a valid key.
pub fn of(decision: &Decision) -> Option<Problem> {
    let forbidden = |code, says| Problem::new(StatusCode::FORBIDDEN, code, says);
    Some(match decision.outcome {
        Outcome::Valid => return None,
        Outcome::NotFound | Outcome::Malformed => unauthorized("invalid_api_key", "Invalid API key"),
        Outcome::Disabled | Outcome::Revoked => unauthorized("api_key_disabled", "API key is disabled"),
        Outcome::Expired | Outcome::RotatedOut => unauthorized("api_key_expired", "API key has expired"),
        Outcome::OwnerInactive => unauthorized("owner_inactive", "User not found or inactive"),
        Outcome::InsufficientScope => missing_scopes(decision),
        Outcome::IpNotAllowed => forbidden("address_not_allowed", "This API key may not be used from this address"),
        Outcome::WrongEnvironment => forbidden("wrong_environment", "This API key is for another environment"),
        Outcome::TenantSuspended => forbidden("tenant_suspended", "The tenant of this API key is suspended"),
        Outcome::RateLimited => too_many("rate_limited", "Rate limit exceeded", decision),
        Outcome::QuotaExceeded => too_many("quota_exceeded", "Quota exceeded", decision),
    })
}

fn unauthorized(code: &'static str, says: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, says)
        .header(WWW_AUTHENTICATE, format!("{REALM}, error=\"invalid_token\", error_description=\"{says}\""))
}

fn missing_scopes(decision: &Decision) -> Problem {
    let has_none = decision.known().is_some_and(|known| known.scopes.is_empty());
    let says = match has_none {
        true => "API key has no scopes".to_owned(),
        false => format!("Missing required scopes: {}", decision.missing_scopes.join(", ")),
    };
    // Scopes contain neither quotes nor backslashes, so they need no escaping in a quoted string.
    let wanted = decision.missing_scopes.join(" ");
    Problem::new(StatusCode::FORBIDDEN, "missing_scopes", says)
        .header(WWW_AUTHENTICATE, format!("{REALM}, error=\"insufficient_scope\", scope=\"{wanted}\""))
}

fn too_many(code: &'static str, says: &str, decision: &Decision) -> Problem {
    let mut problem = match rate_headers::retry_after(decision) {
        Some(seconds) => {
            let says = format!("{says}: try again in {seconds} seconds");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, code, says).header(RETRY_AFTER, seconds.to_string())
        }
        None => Problem::new(StatusCode::TOO_MANY_REQUESTS, code, format!("{says}: {}", for_good(decision))),
    };
    problem.kind = Some(QUOTA_EXCEEDED);
    problem.extra.insert("violated-policies".to_owned(), rate_headers::violated(decision).into());
    problem
}

/// Returns the reason why waiting does not help.
fn for_good(decision: &Decision) -> &'static str {
    let is_beyond_limit =
        decision.standings.iter().any(|one| !one.standing.is_allowed && one.standing.retry_after.is_none());
    let is_used_up = decision.quota.is_some_and(|quota| quota.remaining == 0 && quota.refills_at.is_none());
    match decision.exceeds_quota && decision.quota_wait.is_none() {
        _ if is_beyond_limit => "this call costs more than the limit allows at once",
        true if is_used_up => "it is used up and is not refilled",
        true => "this call costs more than is left",
        false => "the key expires before this call fits",
    }
}

/// Returns the status that a gateway would respond with, for the records of verifications.
pub fn status(outcome: Outcome) -> u16 {
    let problem = of(&Decision::refused(outcome));
    problem.map_or(StatusCode::OK, |problem| problem.status).as_u16()
}

//! `/api/keys/verification`: a backend or gateway asks what to make of a key.

use std::net::IpAddr;
use std::time::Instant;

use actix_web::HttpResponse;
use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::api_keys::KeyBody;
use crate::domain::api_key::Environment;
use crate::domain::limit::Standing;
use crate::domain::usage::{self, Outcome, UsageRecord};
use crate::domain::{Error, FieldErrors, Permission, Rejection, Result, TenantId, scope};
use crate::gate::{Ask, Credential, Decision};
use crate::store::Scope;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::gated::{rate_headers, refusal};
use crate::web::json::Json;
use crate::web::problem::Answer;
use crate::web::state::State;

const MOST_COST: u64 = 1_000_000;
const ENDPOINT: &str = "/api/keys/verification";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    #[serde(alias = "api_key")]
    key: String,
    secret: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    ip: Option<IpAddr>,
    environment: Option<Environment>,
    cost: Option<u64>,
    endpoint: Option<String>,
    method: Option<String>,
    #[serde(default)]
    dry_run: bool,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
}

#[derive(Debug, Serialize)]
struct Limit {
    limit: u64,
    remaining: u64,
    reset_at: DateTime<Utc>,
    window_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Verified {
    valid: bool,
    code: Outcome,
    request_id: String,
    key: Option<KeyBody>,
    missing_scopes: Vec<String>,
    rate_limit: Option<Limit>,
    quota: Option<i64>,
    headers: Map<String, Value>,
}

/// Answers 200 whatever the decision. A tenant's token knows its own keys only.
pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<VerifyBody>) -> Answer {
    let start = Instant::now();
    let scope = bearer.reach(&TenantAsk::new(body.tenant_id, body.tenant.clone()), Permission::VerifyKeys).await?;
    let ask = parse(&body, scope)?;
    let decision = state.gate.decide(&ask).await?;
    if !ask.is_dry_run
        && let Some(record) = record(&state, &bearer, &body, &decision, start)
    {
        state.gate.record(record);
    }
    Ok(HttpResponse::Ok().json(verified(decision, bearer.request_id, state.clock.now())))
}

fn parse(body: &VerifyBody, reach: Scope) -> Result<Ask> {
    let mut errors = FieldErrors::default();
    let credential = errors.take("secret", credential(&body.key, body.secret.as_deref()));
    let scopes = errors.take_each("scopes", &body.scopes, scope::parse);
    let cost = body.cost.unwrap_or(1);
    if !(1..=MOST_COST).contains(&cost) {
        errors.add("cost", Rejection::new("range", format!("must be from 1 to {MOST_COST}")));
    }
    match credential {
        Some(credential) if errors.is_empty() => Ok(Ask {
            credential,
            tenant: match reach {
                Scope::Tenant(tenant) => Some(tenant),
                Scope::Instance => None,
            },
            scopes,
            environment: body.environment,
            ip: body.ip.map(|ip| ip.to_canonical()),
            cost,
            is_dry_run: body.dry_run,
        }),
        _ => Err(Error::from(errors)),
    }
}

fn credential(key: &str, secret: Option<&str>) -> Result<Credential, Rejection> {
    let (key, secret) = (key.trim(), secret.map(str::trim).filter(|secret| !secret.is_empty()));
    match secret {
        Some(secret) if key == secret => Ok(Credential::secret(secret)),
        Some(secret) => Ok(Credential::pair(key, secret)),
        None if key.starts_with("pk_") => Err(Rejection::new("required", "is required where key is only a public id")),
        None => Ok(Credential::secret(key)),
    }
}

fn record(
    state: &State,
    bearer: &Bearer,
    body: &VerifyBody,
    decision: &Decision,
    start: Instant,
) -> Option<UsageRecord> {
    let known = decision.known()?;
    let method = body.method.as_deref().unwrap_or("POST").to_ascii_uppercase();
    Some(UsageRecord {
        tenant: known.key.tenant_id,
        api_key: Some(known.key.id),
        request_id: bearer.request_id.clone(),
        endpoint: usage::endpoint(body.endpoint.as_deref().unwrap_or(ENDPOINT)),
        method: method.chars().filter(char::is_ascii_alphabetic).take(20).collect(),
        status: i16::try_from(refusal::status(decision.outcome)).unwrap_or(0),
        outcome: decision.outcome,
        reason: decision.reason.clone(),
        duration_us: i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
        cost: i64::try_from(decision.cost).unwrap_or(i64::MAX),
        ip: body.ip.map(|ip| ip.to_canonical()),
        at: state.clock.now(),
    })
}

fn verified(decision: Decision, request_id: String, now: DateTime<Utc>) -> Verified {
    let headers = decision.standing.as_ref().map(rate_headers::texts).unwrap_or_default();
    Verified {
        valid: decision.is_valid(),
        code: decision.outcome,
        request_id,
        key: decision.known().map(|known| KeyBody::new(known.key.clone(), now)),
        missing_scopes: decision.missing_scopes,
        rate_limit: decision.standing.map(limit),
        quota: None,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
    }
}

fn limit(standing: Standing) -> Limit {
    Limit {
        limit: standing.limit.quota,
        remaining: standing.remaining,
        reset_at: standing.more_at,
        window_seconds: standing.limit.window_seconds,
    }
}

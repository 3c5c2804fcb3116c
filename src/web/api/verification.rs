//! `/api/keys/verification`: decides about one key, or up to 100 keys, for a backend or gateway.

mod answer;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::body::{named, or_default};
use answer::Verified;

use crate::domain::api_key::Environment;
use crate::domain::usage::{self, UsageRecord};
use crate::domain::{Error, FieldErrors, Noun, Permission, Rejection, Result, TenantId, verification};
use crate::gate::{Credential, Decision, VerificationRequest};
use crate::store::Scope;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{self, Json};
use crate::web::json_object::JsonObject;
use crate::web::key_auth::refusal;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Maximum number of verifications in a batch.
const MOST_AT_ONCE: usize = 100;
/// Path of a single verification, which `web::direct` serves.
pub const PATH: &str = "/api/keys/verification";

/// Request body of a verification.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Key as the caller presented it: a secret, or the public id beside `secret`.
    key: Option<String>,
    /// Key under another name.
    api_key: Option<String>,
    /// Secret that belongs to the public id in `key`.
    secret: Option<String>,
    /// Scopes that the key must have.
    scopes: Option<Vec<String>>,
    /// Scopes under another name.
    required_scopes: Option<Vec<String>>,
    /// Address of the key's user. Keys restricted to addresses require it.
    ip: Option<IpAddr>,
    /// Environment that the key must belong to.
    environment: Option<Environment>,
    /// Units that the call takes from limits, 1 by default.
    cost: Option<u64>,
    /// Endpoint to record. The query of a URI is dropped.
    endpoint: Option<String>,
    /// HTTP method to record, `POST` by default.
    method: Option<String>,
    /// True: decides without counting or recording the call.
    #[serde(default, deserialize_with = "or_default")]
    dry_run: bool,
    /// Tenant's id, for an instance token.
    tenant_id: Option<TenantId>,
    /// Tenant's slug, for an instance token.
    tenant: Option<String>,
}

/// Request body of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// Verifications, 1 to 100.
    verifications: Vec<JsonObject<VerifyBody>>,
}

/// Question to the gate, with the endpoint and method to record.
struct Verification {
    ask: VerificationRequest,
    endpoint: Cow<'static, str>,
    method: Cow<'static, str>,
}

/// Verifies a key. Responds 200 for every decision. A tenant token finds only keys of its tenant.
pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<VerifyBody>) -> Answer {
    answered(&state, &bearer, body).await
}

/// Verifies a key for a caller that is already authenticated and a body that is already parsed.
pub async fn answered(state: &State, bearer: &Bearer, body: VerifyBody) -> Answer {
    let reach = bearer.reach(&body.tenant_ask(), Permission::VerifyKeys).await?;
    let verified = verify(state, bearer, Verification::parse(body, reach)?).await?;
    Ok(json::printed(answer::one(&verified)?))
}

/// Verifies keys in order, each as if it came alone. All data for the decisions is loaded before the first call is
/// counted, so that a failed lookup leaves no part of the batch counted.
pub async fn create_batch(state: Data<State>, bearer: Bearer, Json(body): Json<BatchBody>) -> Answer {
    // A tenant in the query applies to all verifications.
    bearer.reach(&TenantAsk::default(), Permission::VerifyKeys).await?;
    let all = parse_batch(&bearer, body.verifications).await?;
    state.gate.must_be_able()?;
    for asked in &all {
        state.gate.prepare(&asked.ask.credential).await?;
    }
    let mut verified = Vec::with_capacity(all.len());
    for asked in all {
        verified.push(verify(&state, &bearer, asked).await?);
    }
    Ok(json::printed(answer::many(&verified)?))
}

/// Parses the verifications of a batch. Errors name each invalid item, as in `verifications[3].cost`.
async fn parse_batch(bearer: &Bearer, items: Vec<JsonObject<VerifyBody>>) -> Result<Vec<Box<Verification>>> {
    if !(1..=MOST_AT_ONCE).contains(&items.len()) {
        let says = format!("must be 1 to {MOST_AT_ONCE} verifications");
        return Err(Error::field("verifications", Rejection::new("range", says)));
    }
    let (mut errors, mut all) = (FieldErrors::default(), Vec::with_capacity(items.len()));
    for (index, JsonObject(item)) in items.into_iter().enumerate() {
        let field = if item.tenant_id.is_some() { "tenant_id" } else { "tenant" };
        let parsed = match bearer.reach(&item.tenant_ask(), Permission::VerifyKeys).await {
            Ok(reach) => Verification::parse(item, reach),
            // A 404 would concern the whole batch, so an unknown tenant becomes an error of its item.
            Err(Error::NotFound(Noun::Tenant)) => {
                Err(Error::field(field, Rejection::new("unknown", "is not a tenant")))
            }
            Err(error) => Err(error),
        };
        match parsed {
            Ok(asked) => all.push(asked),
            Err(Error::Invalid(inner)) => errors.extend_inside(&format!("verifications[{index}]"), inner),
            Err(error) => return Err(error),
        }
    }
    if errors.is_empty() { Ok(all) } else { Err(errors.into()) }
}

impl VerifyBody {
    fn tenant_ask(&self) -> TenantAsk {
        TenantAsk::new(self.tenant_id, self.tenant.clone())
    }
}

impl Verification {
    fn parse(body: VerifyBody, reach: Scope) -> Result<Box<Self>> {
        let mut errors = FieldErrors::default();
        let key = named([body.key, body.api_key]).and_then(|key| key.ok_or_else(Rejection::required));
        let key = errors.take("key", key).unwrap_or_default();
        let credential = Credential::of_fields(&key, body.secret.as_deref());
        let scopes = errors.take("scopes", named([body.scopes, body.required_scopes])).flatten().unwrap_or_default();
        let scopes = verification::scopes(&mut errors, "scopes", &scopes);
        let cost = errors.take("cost", verification::cost(body.cost.unwrap_or(1)));
        let method = match &body.method {
            Some(method) => errors.take("method", verification::method(method)).map(Cow::Owned),
            None => Some(Cow::Borrowed("POST")),
        };
        // Drop the query: it may hold secrets, and would make every call an endpoint of its own.
        let named = usage::endpoint(body.endpoint.as_deref().map_or("", |uri| verification::split_uri(uri).0.trim()));
        match (cost, method) {
            (Some(cost), Some(method)) if errors.is_empty() => {
                let tenant = match reach {
                    Scope::Tenant(tenant) => Some(tenant),
                    Scope::Instance => None,
                };
                let ask = VerificationRequest {
                    tenant,
                    scopes,
                    environment: body.environment,
                    cost,
                    is_dry_run: body.dry_run,
                    ..VerificationRequest::new(credential, body.ip.map(|ip| ip.to_canonical()))
                };
                let endpoint = if named.is_empty() { Cow::Borrowed(PATH) } else { Cow::Owned(named) };
                Ok(Box::new(Self { ask, endpoint, method }))
            }
            _ => Err(Error::from(errors)),
        }
    }
}

async fn verify(state: &State, bearer: &Bearer, asked: Box<Verification>) -> Result<Verified> {
    let start = Instant::now();
    let decision = state.gate.decide(&asked.ask).await?;
    let now = state.clock.now();
    if !asked.ask.is_dry_run
        && let Some(record) = record(bearer, *asked, &decision, start, now)
    {
        state.gate.record(record);
    }
    Ok(Verified { decision, request_id: bearer.request_id, now })
}

fn record(
    bearer: &Bearer,
    asked: Verification,
    decision: &Decision,
    start: Instant,
    now: DateTime<Utc>,
) -> Option<UsageRecord> {
    let known = decision.known()?;
    Some(UsageRecord {
        tenant: known.key.tenant_id,
        api_key: Some(known.key.id),
        request_id: bearer.request_id.to_string(),
        endpoint: asked.endpoint,
        method: asked.method,
        status: i16::try_from(refusal::status(decision.outcome)).unwrap_or(0),
        outcome: decision.outcome,
        reason: decision.reason.clone(),
        duration_us: i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
        cost: i64::try_from(decision.cost).unwrap_or(i64::MAX),
        ip: asked.ask.ip,
        at: now,
        is_reported: false,
    })
}

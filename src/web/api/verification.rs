//! `/api/keys/verification`: a backend or gateway asks what to make of a key, or of up to a hundred at once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::api_keys::KeyBody;
use crate::domain::api_key::Environment;
use crate::domain::usage::{self, Outcome, UsageRecord};
use crate::domain::{Error, FieldErrors, Noun, Permission, Rejection, Result, TenantId, verification};
use crate::gate::{Ask, Credential, Decision, KnownKey, NamedStanding};
use crate::store::Scope;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::gated::{rate_headers, refusal};
use crate::web::json::{self, Json};
use crate::web::problem::Answer;
use crate::web::state::State;

const MOST_AT_ONCE: usize = 100;
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    verifications: Vec<VerifyBody>,
}

/// What to decide, and what to record it as.
struct Verification {
    ask: Ask,
    endpoint: String,
    method: String,
}

#[derive(Debug, Serialize)]
struct Limit<'a> {
    name: &'a str,
    limit: u64,
    remaining: u64,
    reset_at: DateTime<Utc>,
    window_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Quota {
    limit: i64,
    remaining: i64,
    refills_at: Option<DateTime<Utc>>,
}

/// What was decided, as it is answered.
struct Verified<'a> {
    decision: Decision,
    request_id: &'a str,
    now: DateTime<Utc>,
}

#[derive(Serialize)]
struct Fields<'a> {
    valid: bool,
    code: Outcome,
    request_id: &'a str,
    key: Option<Cow<'a, RawValue>>,
    missing_scopes: &'a [String],
    /// The limit that is nearest.
    rate_limit: Option<&'a RawValue>,
    /// All of them, with their names.
    rate_limits: &'a [Box<RawValue>],
    quota: Option<Quota>,
    headers: Headers,
}

/// By their names.
struct Headers(Vec<(&'static str, String)>);

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Verified<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let decision = &self.decision;
        let quota =
            decision.quota.map(|it| Quota { limit: it.quota, remaining: it.remaining, refills_at: it.refills_at });
        // The nearest stands in the answer twice: each is printed once.
        let limits = decision.standings.iter().map(|named| to_raw_value(&limit(named)).map_err(S::Error::custom));
        let limits = limits.collect::<Result<Vec<_>, _>>()?;
        let nearest = decision.nearest_at().and_then(|place| limits.get(place));
        let fields = Fields {
            valid: decision.is_valid(),
            code: decision.outcome,
            request_id: self.request_id,
            key: decision.known().and_then(|known| printed(known, self.now)),
            missing_scopes: &decision.missing_scopes,
            rate_limit: nearest.map(AsRef::as_ref),
            rate_limits: &limits,
            quota,
            headers: Headers(rate_headers::texts(decision)),
        };
        fields.serialize(serializer)
    }
}

/// Answers 200 whatever the decision. A tenant's token knows its own keys only.
pub async fn create(state: Data<State>, bearer: Bearer, Json(body): Json<VerifyBody>) -> Answer {
    let reach = bearer.reach(&body.tenant_ask(), Permission::VerifyKeys).await?;
    let asked = Verification::parse(body, reach)?;
    json::ok(&verify(&state, &bearer, asked).await?)
}

/// Each of them as if it had come alone, in their order. Nothing is counted unless all of them can be decided.
pub async fn create_batch(state: Data<State>, bearer: Bearer, Json(body): Json<BatchBody>) -> Answer {
    let all = parse_batch(&bearer, body.verifications).await?;
    for asked in &all {
        state.gate.prepare(&asked.ask.credential).await?;
    }
    let mut verified = Vec::with_capacity(all.len());
    for asked in all {
        verified.push(verify(&state, &bearer, asked).await?);
    }
    json::ok(&BTreeMap::from([("data", verified)]))
}

/// Every item that does not fit is named: `verifications[3].cost`.
async fn parse_batch(bearer: &Bearer, items: Vec<VerifyBody>) -> Result<Vec<Verification>> {
    if !(1..=MOST_AT_ONCE).contains(&items.len()) {
        let says = format!("must be 1 to {MOST_AT_ONCE} verifications");
        return Err(Error::field("verifications", Rejection::new("range", says)));
    }
    let (mut errors, mut all) = (FieldErrors::default(), Vec::with_capacity(items.len()));
    for (index, item) in items.into_iter().enumerate() {
        let field = if item.tenant_id.is_some() { "tenant_id" } else { "tenant" };
        let parsed = match bearer.reach(&item.tenant_ask(), Permission::VerifyKeys).await {
            Ok(reach) => Verification::parse(item, reach),
            Err(Error::NotFound(Noun::Tenant)) => Err(Error::field(field, Rejection::new("unknown", "is no tenant"))),
            Err(error) => return Err(error),
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
    fn parse(body: VerifyBody, reach: Scope) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let credential = errors.take("secret", Credential::of_fields(&body.key, body.secret.as_deref()));
        let scopes = verification::scopes(&mut errors, "scopes", &body.scopes);
        let cost = errors.take("cost", verification::cost(body.cost.unwrap_or(1)));
        let method = errors.take("method", verification::method(body.method.as_deref().unwrap_or("POST")));
        // A query may hold secrets, and would make every call an endpoint of its own.
        let named = usage::endpoint(body.endpoint.as_deref().map_or("", |uri| verification::split_uri(uri).0.trim()));
        match (credential, cost, method) {
            (Some(credential), Some(cost), Some(method)) if errors.is_empty() => {
                let tenant = match reach {
                    Scope::Tenant(tenant) => Some(tenant),
                    Scope::Instance => None,
                };
                let ask = Ask {
                    tenant,
                    scopes,
                    environment: body.environment,
                    cost,
                    is_dry_run: body.dry_run,
                    ..Ask::new(credential, body.ip.map(|ip| ip.to_canonical()))
                };
                let endpoint = if named.is_empty() { ENDPOINT.to_owned() } else { named };
                Ok(Self { ask, endpoint, method })
            }
            _ => Err(Error::from(errors)),
        }
    }
}

async fn verify<'a>(state: &State, bearer: &'a Bearer, asked: Verification) -> Result<Verified<'a>> {
    let start = Instant::now();
    let decision = state.gate.decide(&asked.ask).await?;
    let now = state.clock.now();
    if !asked.ask.is_dry_run
        && let Some(record) = record(bearer, asked, &decision, start, now)
    {
        state.gate.record(record);
    }
    Ok(Verified { decision, request_id: &bearer.request_id, now })
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
        request_id: bearer.request_id.clone(),
        endpoint: asked.endpoint,
        method: asked.method,
        status: i16::try_from(refusal::status(decision.outcome)).unwrap_or(0),
        outcome: decision.outcome,
        reason: decision.reason.clone(),
        duration_us: i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX),
        cost: i64::try_from(decision.cost).unwrap_or(i64::MAX),
        ip: asked.ask.ip,
        at: now,
    })
}

fn printed(known: &KnownKey, now: DateTime<Utc>) -> Option<Cow<'_, RawValue>> {
    known.printed(now, || to_raw_value(&KeyBody::of(&known.key, now)).ok())
}

fn limit(named: &NamedStanding) -> Limit<'_> {
    Limit {
        name: &named.name,
        limit: named.standing.limit.quota,
        remaining: named.standing.remaining,
        reset_at: named.standing.more_at,
        window_seconds: named.standing.limit.window_seconds,
    }
}

//! Decision about a cached key: which checks run, in which order. Pure functions.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde_json::value::RawValue;

use super::Credential;
use super::cache::Entry;
use super::limiter::{LimitSubject, Subject};
use crate::domain::TenantId;
use crate::domain::address::network;
use crate::domain::api_key::{Environment, KeyState};
use crate::domain::digest::StoredDigest;
use crate::domain::limit::named::{self, NamedLimit, Per};
use crate::domain::limit::{Limit, LimitState};
use crate::domain::quota::{Quota, QuotaState};
use crate::domain::scope::ScopeSet;
use crate::domain::usage::Outcome;
use crate::model::ApiKey;
use crate::store::api_keys::GateRow;

/// State of one of a key's rate limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStanding {
    pub name: Arc<str>,
    pub per: Per,
    pub standing: LimitState,
}

/// Returns the limits of a key, its own limit first, with the subject under which each is counted.
pub fn held(key: &ApiKey) -> Vec<(Arc<str>, Per, LimitSubject)> {
    let subject = Subject::of_lineage(key.lineage_id, named::FIRST);
    let first = LimitSubject { tenant: key.tenant_id, subject, limit: key.limit() };
    let more = key.named_limits().into_iter().map(|one| (one.name.as_str().into(), one.per, held_to(key, &one)));
    std::iter::once((named::FIRST.into(), Per::Key, first)).chain(more).collect()
}

fn held_to(key: &ApiKey, one: &NamedLimit) -> LimitSubject {
    let limit: Limit = one.limit();
    let subject = match (&key.owner, one.per) {
        (Some(owner), Per::Owner) => Subject::of_owner(key.tenant_id, owner, &one.name, limit.window_seconds),
        _ => Subject::of_lineage(key.lineage_id, &one.name),
    };
    LimitSubject { tenant: key.tenant_id, subject, limit }
}

/// Cached key with everything parsed that a verification needs.
#[derive(Debug, Clone)]
pub struct KnownKey {
    pub key: ApiKey,
    pub tenant_slug: String,
    pub scopes: ScopeSet,
    /// Name and kind of each limit, in the order of `held`.
    pub limits: Vec<(Arc<str>, Per)>,
    pub held: Vec<LimitSubject>,
    pub quota: Option<Quota>,
    pub digest: StoredDigest,
    is_tenant_active: bool,
    is_owner_active: bool,
    allowed: Vec<IpNet>,
    /// JSON of the key for API responses, with the key's state at that time.
    printed: OnceLock<(KeyState, Box<RawValue>)>,
}

impl KnownKey {
    pub fn new(row: GateRow) -> Self {
        let (limits, held) = held(&row.key).into_iter().map(|(name, per, held)| ((name, per), held)).unzip();
        Self {
            limits,
            held,
            quota: row.key.quota(),
            digest: row.key.stored_digest(),
            scopes: ScopeSet::new(row.key.scopes.clone()),
            allowed: row.key.allowed_ips.iter().filter_map(|text| network(text)).collect(),
            tenant_slug: row.tenant_slug,
            is_tenant_active: row.is_tenant_active,
            is_owner_active: row.is_owner_active,
            printed: OnceLock::new(),
            key: row.key,
        }
    }

    /// Returns the key's JSON as built by `print`. It is built once, and again only if the key's state differs by now.
    /// All other fields are constant while the key is cached.
    pub fn printed(&self, now: DateTime<Utc>, print: impl Fn() -> Option<Box<RawValue>>) -> Option<Cow<'_, RawValue>> {
        let state = self.key.state(now);
        match self.printed.get() {
            Some((known, text)) if *known == state => return Some(Cow::Borrowed(&**text)),
            Some(_) => return print().map(Cow::Owned),
            None => {}
        }
        let text = print()?;
        Some(Cow::Borrowed(&*self.printed.get_or_init(|| (state, text)).1))
    }

    /// Returns true if the key has an owner who can sign in.
    pub fn has_active_owner(&self) -> bool {
        self.key.user_id.is_some() && self.is_owner_active
    }

    /// Adds the names of the limits to their states.
    pub fn named(&self, standings: Vec<LimitState>) -> Vec<NamedStanding> {
        let named = self.limits.iter().zip(standings);
        named.map(|((name, per), standing)| NamedStanding { name: Arc::clone(name), per: *per, standing }).collect()
    }

    fn admits(&self, ip: Option<IpAddr>) -> bool {
        let is_inside = |ip: IpAddr| self.allowed.iter().any(|network| network.contains(&ip.to_canonical()));
        self.key.allowed_ips.is_empty() || ip.is_some_and(is_inside)
    }
}

/// Verification request for a key.
#[derive(Debug, Clone)]
pub struct VerificationRequest {
    pub credential: Credential,
    /// Tenant that the key must belong to. Keys of other tenants count as unknown.
    pub tenant: Option<TenantId>,
    /// Slug of the tenant that the key must belong to. It is compared with the cached key, without a look-up.
    pub tenant_slug: Option<String>,
    /// Scopes that the key must have.
    pub scopes: Vec<String>,
    pub environment: Option<Environment>,
    pub ip: Option<IpAddr>,
    /// Units to charge to each limit and the quota.
    pub cost: u64,
    /// True to check only, and charge nothing.
    pub is_dry_run: bool,
}

impl VerificationRequest {
    /// Builds the request for one ordinary call.
    pub fn new(credential: Credential, ip: Option<IpAddr>) -> Self {
        Self {
            credential,
            tenant: None,
            tenant_slug: None,
            scopes: Vec::new(),
            environment: None,
            ip,
            cost: 1,
            is_dry_run: false,
        }
    }

    /// Returns true if the key belongs to the requested tenant, or none was requested.
    pub fn is_about(&self, known: &KnownKey) -> bool {
        self.tenant.is_none_or(|tenant| tenant == known.key.tenant_id)
            && self.tenant_slug.as_ref().is_none_or(|slug| *slug == known.tenant_slug)
    }
}

/// Result of a verification.
#[derive(Debug, Clone)]
pub struct Decision {
    pub outcome: Outcome,
    /// Key whose secret was right. `None` for an unknown or malformed credential.
    pub key: Option<Arc<Entry<KnownKey>>>,
    /// State of each limit, the key's own limit first. Empty if the limits were not checked.
    pub standings: Vec<NamedStanding>,
    pub quota: Option<QuotaState>,
    /// Seconds until a refused cost fits into the quota. `None` if it never does.
    pub quota_wait: Option<u64>,
    /// True if the quota refuses the cost, alone or beside limits.
    pub exceeds_quota: bool,
    /// Seconds until the key expires or its overlap is over.
    pub ends_in: Option<u64>,
    pub missing_scopes: Vec<String>,
    /// Units charged to the limits.
    pub cost: u64,
    /// Reason of a refusal, for the key's tenant only. The caller never sees it.
    pub reason: Option<String>,
}

impl Decision {
    pub fn refused(outcome: Outcome) -> Self {
        Self {
            outcome,
            key: None,
            standings: Vec::new(),
            quota: None,
            quota_wait: None,
            exceeds_quota: false,
            ends_in: None,
            missing_scopes: Vec::new(),
            cost: 0,
            reason: None,
        }
    }

    /// Returns the nearest limit: one that refuses, else the one with the least left.
    pub fn nearest(&self) -> Option<&NamedStanding> {
        self.standings.iter().min_by_key(|named| {
            let wait = named.standing.retry_after.unwrap_or(u64::MAX);
            (named.standing.is_allowed, std::cmp::Reverse(wait), named.standing.remaining)
        })
    }

    pub fn is_valid(&self) -> bool {
        self.outcome == Outcome::Valid
    }

    pub fn known(&self) -> Option<&KnownKey> {
        self.key.as_ref().map(|entry| &entry.value)
    }

    /// Returns the reason of a refusal, if the key was refused.
    pub fn why(&self, ask: &VerificationRequest) -> Option<String> {
        reason(self.outcome, self.known()?, ask, &self.missing_scopes, self.nearest())
    }
}

/// Builds the reason of a refusal for the log.
fn reason(
    outcome: Outcome,
    known: &KnownKey,
    ask: &VerificationRequest,
    missing: &[String],
    nearest: Option<&NamedStanding>,
) -> Option<String> {
    let key = &known.key;
    let at = |at: Option<DateTime<Utc>>| {
        at.map_or_else(String::new, |at| at.format(" on %Y-%m-%d at %H:%M UTC").to_string())
    };
    Some(match outcome {
        Outcome::Valid => return None,
        Outcome::NotFound => "no key of this tenant has this id and secret".to_owned(),
        Outcome::Malformed => "the checksum is wrong: the secret was mistyped or invented".to_owned(),
        Outcome::Disabled => "the key is disabled".to_owned(),
        Outcome::Revoked => match &key.revoked_reason {
            Some(reason) => format!("the key was revoked{}: {reason}", at(key.revoked_at)),
            None => format!("the key was revoked{}", at(key.revoked_at)),
        },
        Outcome::Expired => format!("the key expired{}", at(key.expires_at)),
        Outcome::RotatedOut => "the key was replaced by a newer one, and its overlap has ended".to_owned(),
        Outcome::OwnerInactive => "the key's user is missing, inactive, or no longer a member".to_owned(),
        Outcome::TenantSuspended => "the tenant is suspended".to_owned(),
        Outcome::WrongEnvironment => {
            format!("the key is a {} key, but a {} key is required", key.environment, other(key.environment))
        }
        Outcome::IpNotAllowed => match ask.ip {
            Some(ip) => format!("{} is not an allowed address of the key", ip.to_canonical()),
            None => "no address was given, but the key allows only certain addresses".to_owned(),
        },
        Outcome::InsufficientScope => format!("missing scopes: {}", missing.join(", ")),
        Outcome::RateLimited => match nearest {
            Some(NamedStanding { name, standing, .. }) => {
                let used = standing.limit.quota.saturating_sub(standing.remaining).saturating_add(ask.cost);
                let which = if &**name == named::FIRST { String::new() } else { format!("{name}: ") };
                format!("{which}limit at {used}/{} in {} s", standing.limit.quota, standing.limit.window_seconds)
            }
            None => "a limit is reached".to_owned(),
        },
        Outcome::QuotaExceeded => "the quota is used up".to_owned(),
    })
}

const fn other(environment: Environment) -> Environment {
    match environment {
        Environment::Live => Environment::Test,
        Environment::Test => Environment::Live,
    }
}

/// Runs all checks but the secret, which comes before, and the limits, which come after. Final refusals come first: it
/// is no use to allow an address on a revoked key.
pub fn judge(known: &KnownKey, ask: &VerificationRequest, now: DateTime<Utc>) -> (Outcome, Vec<String>) {
    let refused = match known.key.state(now) {
        KeyState::Deleted => Some(Outcome::NotFound),
        KeyState::Revoked => Some(Outcome::Revoked),
        KeyState::Expired if known.key.is_rotated_out(now) => Some(Outcome::RotatedOut),
        KeyState::Expired => Some(Outcome::Expired),
        KeyState::Disabled => Some(Outcome::Disabled),
        KeyState::Active | KeyState::Rotating => None,
    };
    if let Some(outcome) = refused {
        return (outcome, Vec::new());
    }
    if !known.is_tenant_active {
        return (Outcome::TenantSuspended, Vec::new());
    }
    if known.key.requires_owner && !known.is_owner_active {
        return (Outcome::OwnerInactive, Vec::new());
    }
    if ask.environment.is_some_and(|wanted| wanted != known.key.environment) {
        return (Outcome::WrongEnvironment, Vec::new());
    }
    if !known.admits(ask.ip) {
        return (Outcome::IpNotAllowed, Vec::new());
    }
    match known.scopes.missing(&ask.scopes) {
        missing if missing.is_empty() => (Outcome::Valid, missing),
        missing => (Outcome::InsufficientScope, missing),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::digest::HashAlgorithm;
    use crate::domain::{ApiKeyId, LineageId, UserId};
    use crate::model::Rotation;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000, 0).unwrap()
    }

    fn row() -> GateRow {
        let key = ApiKey {
            id: ApiKeyId(7),
            tenant_id: TenantId(1),
            user_id: Some(UserId(1)),
            name: "ci".into(),
            description: None,
            environment: Environment::Live,
            public_id: "pk_1".into(),
            key_prefix: "sk_1".into(),
            hint: "sk_1…2".into(),
            hash_algorithm: HashAlgorithm::HmacSha256,
            pepper_id: "p".into(),
            digest: String::new(),
            scopes: vec!["orders:read".into()],
            rate_limit: 10,
            rate_window_seconds: 60,
            allowed_ips: Vec::new(),
            owner: None,
            requires_owner: false,
            metadata: serde_json::Value::Null,
            tags: Vec::new(),
            is_active: true,
            expires_at: None,
            last_used_at: None,
            last_used_ip: None,
            revoked_at: None,
            revoked_reason: None,
            deleted_at: None,
            version: 1,
            created_at: now(),
            updated_at: now(),
            lineage_id: LineageId(7),
            rotation: Rotation::default(),
        };
        GateRow { key, tenant_slug: "acme".into(), is_tenant_active: true, is_owner_active: true }
    }

    fn outcome(change: impl FnOnce(&mut GateRow, &mut VerificationRequest)) -> Outcome {
        let mut row = row();
        let mut ask = VerificationRequest::new(Credential::Malformed, "203.0.113.7".parse().ok());
        change(&mut row, &mut ask);
        judge(&KnownKey::new(row), &ask, now()).0
    }

    #[test]
    fn each_check_has_its_outcome() {
        assert_eq!(outcome(|_, _| {}), Outcome::Valid);
        assert_eq!(outcome(|row, _| row.key.is_active = false), Outcome::Disabled);
        assert_eq!(outcome(|row, _| row.key.revoked_at = Some(now())), Outcome::Revoked);
        assert_eq!(outcome(|row, _| row.key.deleted_at = Some(now())), Outcome::NotFound);
        assert_eq!(outcome(|row, _| row.key.expires_at = Some(now())), Outcome::Expired);
        assert_eq!(outcome(|row, _| row.key.expires_at = Some(now() + TimeDelta::seconds(1))), Outcome::Valid);
        assert_eq!(outcome(|row, _| row.key.rotation.rotates_out_at = Some(now())), Outcome::RotatedOut);
        assert_eq!(
            outcome(|row, _| row.key.rotation.rotates_out_at = Some(now() + TimeDelta::seconds(1))),
            Outcome::Valid
        );
        assert_eq!(outcome(|row, _| row.is_tenant_active = false), Outcome::TenantSuspended);
        assert_eq!(outcome(|row, _| row.is_owner_active = false), Outcome::Valid);
        assert_eq!(outcome(|_, ask| ask.environment = Some(Environment::Test)), Outcome::WrongEnvironment);
        assert_eq!(outcome(|_, ask| ask.scopes = vec!["orders:write".into()]), Outcome::InsufficientScope);
        assert_eq!(outcome(|_, ask| ask.scopes = vec!["orders:read".into()]), Outcome::Valid);
        let orphan = outcome(|row, _| (row.key.requires_owner, row.is_owner_active) = (true, false));
        assert_eq!(orphan, Outcome::OwnerInactive);
    }

    #[test]
    fn a_revoked_key_is_revoked_whatever_else_it_is() {
        let all = outcome(|row, ask| {
            row.key.revoked_at = Some(now());
            row.key.is_active = false;
            row.key.expires_at = Some(now());
            row.is_tenant_active = false;
            ask.environment = Some(Environment::Test);
        });
        assert_eq!(all, Outcome::Revoked);
    }

    #[test]
    fn addresses_must_be_on_the_list() {
        let from = |ip: Option<&str>, allowed: &[&str]| {
            outcome(|row, ask| {
                row.key.allowed_ips = allowed.iter().map(ToString::to_string).collect();
                ask.ip = ip.and_then(|ip| ip.parse().ok());
            })
        };
        let list = ["203.0.113.0/24", "2001:db8::1", "::ffff:192.0.2.7"];
        assert_eq!(from(Some("203.0.113.9"), &list), Outcome::Valid);
        assert_eq!(from(Some("::ffff:203.0.113.9"), &list), Outcome::Valid);
        assert_eq!(from(Some("2001:db8::1"), &list), Outcome::Valid);
        assert_eq!(from(Some("192.0.2.7"), &list), Outcome::Valid);
        assert_eq!(from(Some("198.51.100.1"), &list), Outcome::IpNotAllowed);
        assert_eq!(from(None, &list), Outcome::IpNotAllowed);
        assert_eq!(from(None, &[]), Outcome::Valid);
    }
}

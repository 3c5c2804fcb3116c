//! Plans: what a tenant may have, changes by operators, and checks of the limits.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::json;

use super::Operator;
use super::audit::{self, AuditedAct};
use crate::domain::api_key::NewKey;
use crate::domain::page::{Page, Paging};
use crate::domain::{Actor, Error, FieldErrors, Noun, Permission, Rejection, Result, TenantId};
use crate::model::Plan;
use crate::store::event_months::Limited;
use crate::store::{self, Tx};

/// Highest count that a plan can set.
const MOST: i64 = 1_000_000_000_000;
/// Highest rate limit that a plan can set, as for keys.
const MOST_RATE: i64 = 1_000_000_000;

/// Lists plans, smallest first.
pub fn list(conn: &mut PgConnection) -> Result<Vec<Plan>> {
    store::plans::list(conn)
}

/// Returns one page of plans, smallest first. The cursor is a plan's name.
pub fn page(conn: &mut PgConnection, paging: &Paging<String>) -> Result<Page<Plan, String>> {
    let all = store::plans::list(conn)?;
    let total = i64::try_from(all.len()).ok();
    let skipped = match &paging.before {
        Some(last) => all.iter().position(|plan| plan.name == *last).map_or(all.len(), |at| at + 1),
        None => paging.offset.and_then(|offset| usize::try_from(offset).ok()).unwrap_or(0),
    };
    let size = usize::try_from(paging.size.plus_one()).unwrap_or(usize::MAX);
    let rows = all.into_iter().skip(skipped).take(size).collect();
    let mut page = Page::cut(rows, paging, |plan: &Plan| plan.name.clone());
    page.total = total.filter(|_| paging.offset.is_some());
    Ok(page)
}

pub fn find(conn: &mut PgConnection, name: &str) -> Result<Plan> {
    store::plans::find(conn, name)?.ok_or(Error::NotFound(Noun::Plan))
}

pub fn of_tenant(conn: &mut PgConnection, tenant: TenantId) -> Result<Plan> {
    store::plans::find_of_tenant(conn, tenant)?.ok_or(Error::NotFound(Noun::Tenant))
}

/// Change of a plan. `None` leaves a limit as it is, `Some(None)` removes it.
#[derive(Debug, Clone, Default)]
pub struct PlanChange {
    /// Maximum number of API keys of a tenant.
    pub max_keys: Option<Option<i64>>,
    /// Maximum number of webhooks of a tenant.
    pub max_webhooks: Option<Option<i64>>,
    /// Maximum number of members of a tenant.
    pub max_members: Option<Option<i64>>,
    /// Maximum number of events of a tenant in a calendar month.
    pub max_events_per_month: Option<Option<i64>>,
    /// Requests per hour of keys without a limit of their own.
    pub default_rate_limit: Option<i64>,
    /// Highest rate limit that a key may have, in requests per hour.
    pub max_rate_limit: Option<Option<i64>>,
    /// Time of the plan's last change known to the caller. If it has changed since, the update is refused.
    pub seen: Option<DateTime<Utc>>,
}

/// Changes a plan for all of its tenants. What they have beyond the new limits stays.
pub fn update(tx: &mut Tx<'_>, who: &Operator, name: &str, change: &PlanChange) -> Result<Plan> {
    let now = tx.now;
    let before = store::plans::lock(tx, name)?.ok_or(Error::NotFound(Noun::Plan))?;
    if change.seen.is_some_and(|seen| seen != before.updated_at) {
        return Err(Error::conflict("this plan was changed in the meantime: load it again, then repeat your change"));
    }
    let after = Plan {
        max_keys: change.max_keys.unwrap_or(before.max_keys),
        max_webhooks: change.max_webhooks.unwrap_or(before.max_webhooks),
        max_members: change.max_members.unwrap_or(before.max_members),
        max_events_per_month: change.max_events_per_month.unwrap_or(before.max_events_per_month),
        default_rate_limit: change.default_rate_limit.unwrap_or(before.default_rate_limit),
        max_rate_limit: change.max_rate_limit.unwrap_or(before.max_rate_limit),
        ..before.clone()
    };
    check(&after)?;
    if after == before {
        return Ok(after);
    }
    store::plans::update(tx, &after, now)?;
    let deed = AuditedAct::new("plan.updated", format!("plan:{name}")).with("name", name);
    audit::record_for_instance(tx, who, None, deed.changing(facts(&before), facts(&after)))?;
    find(tx, name)
}

fn check(plan: &Plan) -> Result<()> {
    let mut errors = FieldErrors::default();
    for (field, limit) in [
        ("max_keys", plan.max_keys),
        ("max_webhooks", plan.max_webhooks),
        ("max_members", plan.max_members),
        ("max_events_per_month", plan.max_events_per_month),
    ] {
        if limit.is_some_and(|limit| !(0..=MOST).contains(&limit)) {
            errors.add(field, Rejection::new("range", format!("must be from 0 to {MOST}, or empty for no limit")));
        }
    }
    if !(1..=MOST_RATE).contains(&plan.default_rate_limit) {
        errors.add("default_rate_limit", Rejection::new("range", format!("must be from 1 to {MOST_RATE}")));
    }
    if plan.max_rate_limit.is_some_and(|most| !(plan.default_rate_limit..=MOST_RATE).contains(&most)) {
        let says = format!("must be from the default limit to {MOST_RATE}, or empty for no limit");
        errors.add("max_rate_limit", Rejection::new("range", says));
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.into()) }
}

fn facts(plan: &Plan) -> serde_json::Value {
    json!({
        "max_keys": plan.max_keys, "max_webhooks": plan.max_webhooks, "max_members": plan.max_members,
        "max_events_per_month": plan.max_events_per_month, "default_rate_limit": plan.default_rate_limit,
        "max_rate_limit": plan.max_rate_limit,
    })
}

/// Kind of thing whose number a plan limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedResource {
    Key,
    Webhook,
    Member,
}

impl LimitedResource {
    const fn noun(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Webhook => "webhooks",
            Self::Member => "members",
        }
    }

    const fn most(self, plan: &Plan) -> Option<i64> {
        match self {
            Self::Key => plan.max_keys,
            Self::Webhook => plan.max_webhooks,
            Self::Member => plan.max_members,
        }
    }

    fn count(self, tx: &mut Tx<'_>, tenant: TenantId) -> Result<i64> {
        let now = tx.now;
        match self {
            Self::Key => Ok(store::key_counts::fold(tx, tenant, now)?.held),
            Self::Webhook => store::plans::count_webhooks(tx, tenant),
            Self::Member => store::plans::count_members(tx, tenant),
        }
    }
}

/// Refuses if the tenant's plan has no room for one more. Locks the tenant until the transaction ends, so that two
/// transactions cannot both take the last place. Call it before the insert.
///
/// # Errors
/// `LimitReached`, with a message that names the limit.
pub fn must_have_room(tx: &mut Tx<'_>, tenant: TenantId, thing: LimitedResource) -> Result<()> {
    let plan = of_tenant(tx, tenant)?;
    if thing.most(&plan).is_none() {
        return Ok(());
    }
    store::tenants::lock(tx, tenant)?;
    // The plan may have changed while this transaction waited for the lock.
    let plan = of_tenant(tx, tenant)?;
    match thing.most(&plan) {
        Some(most) if most <= thing.count(tx, tenant)? => {
            let (name, noun) = (&plan.name, thing.noun());
            Err(Error::LimitReached(format!(
                "the plan {name} allows {most} {noun}: remove one, or ask for another plan"
            )))
        }
        _ => Ok(()),
    }
}

/// Refuses a rate limit above the plan's limit per hour.
pub fn must_allow_rate(plan: &Plan, limit: i64, window_seconds: i64) -> Result<()> {
    let hour = i128::from(NewKey::DEFAULT_RATE_WINDOW_SECONDS);
    let is_beyond = |most: i64| i128::from(most) * i128::from(window_seconds) < i128::from(limit) * hour;
    match plan.max_rate_limit {
        Some(most) if is_beyond(most) => {
            let says = format!("must be at most {most} requests an hour on the plan {}", plan.name);
            Err(Error::field("rate_limit", Rejection::new("limit_reached", says)))
        }
        _ => Ok(()),
    }
}

/// Counts events in the transaction that is about to publish them: all of them or none.
///
/// # Errors
/// `LimitReached` if a tenant's plan has no room for its events this month.
pub fn count_events(tx: &mut Tx<'_>, events: &[(TenantId, i64)]) -> Result<()> {
    let now = tx.now;
    let tenants: Vec<TenantId> = events.iter().map(|(tenant, _)| *tenant).collect();
    // Every transaction counts tenants in id order, which avoids deadlocks.
    for limited in store::event_months::limited(tx, &tenants)? {
        let count = events.iter().filter(|(tenant, _)| *tenant == limited.tenant).map(|(_, count)| count).sum();
        if !store::event_months::take(tx, limited, count, now)? {
            return Err(no_room(limited));
        }
    }
    Ok(())
}

/// Refuses if the tenant's plan has no room for events this month. Takes no lock: [`count_written_events`] decides.
pub fn must_have_room_for_events(tx: &mut Tx<'_>, tenant: TenantId) -> Result<()> {
    let now = tx.now;
    for limited in store::event_months::limited(tx, &[tenant])? {
        if store::event_months::find(tx, tenant, now)?.is_some_and(|total| limited.most <= total) {
            return Err(no_room(limited));
        }
    }
    Ok(())
}

/// Counts events that this transaction has just written.
///
/// # Errors
/// `LimitReached` if the tenant's plan has no room for them this month.
pub fn count_written_events(tx: &mut Tx<'_>, tenant: TenantId, count: i64) -> Result<()> {
    let now = tx.now;
    for limited in store::event_months::limited(tx, &[tenant])? {
        if 0 < count && !store::event_months::take_written(tx, limited, count, now)? {
            return Err(no_room(limited));
        }
    }
    Ok(())
}

fn no_room(limited: Limited) -> Error {
    let most = limited.most;
    Error::LimitReached(format!(
        "the plan allows {most} events a month: wait for the next month, or ask for another plan"
    ))
}

/// Plan of a tenant with the counts that it limits.
#[derive(Debug, Clone)]
pub struct PlanUsage {
    pub plan: Plan,
    /// Number of API keys that count towards the plan.
    pub keys: i64,
    /// Number of webhooks.
    pub webhooks: i64,
    /// Number of members.
    pub members: i64,
    /// Events of this month. Counted only if the plan limits them.
    pub events: Option<i64>,
}

pub fn standing(tx: &mut Tx<'_>, actor: &Actor) -> Result<PlanUsage> {
    let now = tx.now;
    actor.must(Permission::ReadTenant)?;
    let plan = of_tenant(tx, actor.tenant)?;
    let events = match plan.max_events_per_month {
        Some(_) => Some(store::event_months::find(tx, actor.tenant, now)?.unwrap_or(0)),
        None => None,
    };
    Ok(PlanUsage {
        keys: store::key_counts::find(tx, actor.tenant, now)?.held,
        webhooks: store::plans::count_webhooks(tx, actor.tenant)?,
        members: store::plans::count_members(tx, actor.tenant)?,
        events,
        plan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_compared_by_the_hour() {
        let plan = Plan {
            name: "free".into(),
            max_keys: None,
            max_webhooks: None,
            max_members: None,
            max_events_per_month: None,
            default_rate_limit: 1,
            max_rate_limit: Some(3600),
            updated_at: DateTime::UNIX_EPOCH,
        };
        assert!(must_allow_rate(&plan, 3600, 3600).is_ok() && must_allow_rate(&plan, 1, 1).is_ok());
        assert!(must_allow_rate(&plan, 86_400, 86_400).is_ok());
        assert!(must_allow_rate(&plan, 3601, 3600).is_err() && must_allow_rate(&plan, 2, 1).is_err());
        assert!(must_allow_rate(&Plan { max_rate_limit: None, ..plan }, 1_000_000_000, 1).is_ok());
    }
}

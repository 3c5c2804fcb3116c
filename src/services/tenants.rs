//! Tenants: creation, changes, look-up and members. Submodules hold their lifecycle and settings.

pub mod life;
mod settings;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::Operator;
use super::audit::{self, AuditedAct};
use super::plans::{self, LimitedResource};
use crate::domain::page::{Page, Paging};
use crate::domain::{Error, FieldErrors, Noun, Rejection, Result, Role, TenantId, UserId, email, text};
use crate::model::{Membership, Tenant, User};
use crate::store::notify::Change;
use crate::store::tenants::TenantSet;
pub use crate::store::tenants::{TenantFigures, TenantFilter};
use crate::store::{self, Tx};
pub use settings::{Settings, configure};

pub const PLANS: [&str; 3] = ["free", "pro", "unlimited"];

/// Tenant to create.
#[derive(Debug, Clone)]
pub struct NewTenant {
    pub name: String,
    pub slug: String,
    /// True if the slug was derived from the name. If it is taken, a number is appended.
    pub is_slug_made: bool,
    /// Name of the plan. If it is `None`, [`default_plan`] chooses.
    pub plan: Option<String>,
    pub is_active: bool,
}

/// Maximum number of numbers tried behind a slug that is taken.
const MOST_NAMESAKES: usize = 1_000;

impl NewTenant {
    pub fn parse(name: &str, slug: Option<&str>, plan: Option<&str>) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let name = errors.take("name", text::name(name));
        let slug = slug.filter(|slug| !slug.is_empty());
        let is_slug_made = slug.is_none();
        let slug = match slug {
            Some(slug) => errors.take("slug", text::slug(slug)),
            None => name.as_deref().map(text::slug_of),
        };
        let plan = plan.and_then(|plan| errors.take("plan", parse_plan(plan)));
        match (name, slug) {
            (Some(name), Some(slug)) if errors.is_empty() => {
                Ok(Self { name, slug, is_slug_made, plan, is_active: true })
            }
            _ => Err(errors.into()),
        }
    }
}

fn parse_plan(text: &str) -> Result<String, Rejection> {
    if PLANS.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err(Rejection::new("choice", format!("must be one of {}", PLANS.join(", "))))
    }
}

/// Change of a tenant by an operator. `None` leaves a field as it is. Admins of the tenant use [`Settings`].
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    pub name: Option<String>,
    pub plan: Option<String>,
    pub is_active: Option<bool>,
    /// Time of the tenant's last change known to the caller. If it has changed since, the update is refused.
    pub seen: Option<DateTime<Utc>>,
}

/// Reference to a tenant, by id or by slug.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantRef {
    Id(TenantId),
    Slug(String),
}

pub fn create(tx: &mut Tx<'_>, who: &Operator, ask: &NewTenant) -> Result<Tenant> {
    let now = tx.now;
    let slug = free_slug(tx, ask)?;
    let plan = match &ask.plan {
        Some(plan) => plan,
        None => default_plan(tx)?,
    };
    let tenant = store::tenants::insert(tx, &ask.name, &slug, plan, now)?;
    let deed = AuditedAct::new("tenant.created", target(tenant.id)).with("slug", slug);
    audit::record_for_instance(tx, who, Some(tenant.id), deed)?;
    // Gates may have cached the absence of this tenant.
    tx.announce(Change::Tenant(tenant.id));
    if ask.is_active { Ok(tenant) } else { life::suspend(tx, who, tenant.id, None) }
}

/// Returns the plan of a new tenant for which none is named. The first tenant usually belongs to the people who run
/// the instance.
pub fn default_plan(conn: &mut PgConnection) -> Result<&'static str> {
    Ok(if store::tenants::any(conn)? { "free" } else { "unlimited" })
}

/// Returns the requested slug. If it is taken and was derived from the name, appends a number.
fn free_slug(conn: &mut PgConnection, ask: &NewTenant) -> Result<String> {
    let most = if ask.is_slug_made { MOST_NAMESAKES } else { 1 };
    for number in 1..=most {
        let slug = if number == 1 { ask.slug.clone() } else { text::numbered_slug(&ask.slug, number) };
        if store::tenants::find_any_by_slug(conn, &slug)?.is_none() {
            return Ok(slug);
        }
    }
    Err(Error::field("slug", Rejection::new("taken", "is already taken: choose another")))
}

pub fn find(conn: &mut PgConnection, tenant: &TenantRef) -> Result<Tenant> {
    let found = match tenant {
        TenantRef::Id(id) => store::tenants::find(conn, *id)?,
        TenantRef::Slug(slug) if text::slug(slug).is_err() => None,
        TenantRef::Slug(slug) => store::tenants::find_by_slug(conn, slug)?,
    };
    found.ok_or(Error::NotFound(Noun::Tenant))
}

/// Finds a tenant by id, deleted ones included, for operators.
pub fn find_any(conn: &mut PgConnection, tenant: TenantId) -> Result<Tenant> {
    store::tenants::find_any(conn, tenant)?.ok_or(Error::NotFound(Noun::Tenant))
}

/// Finds a tenant by slug, deleted ones included, for operators.
pub fn find_any_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Tenant> {
    store::tenants::find_any_by_slug(conn, slug)?.ok_or(Error::NotFound(Noun::Tenant))
}

/// Returns one page of tenants, newest first, with the total. Runs in `Scope::Instance`.
pub fn list(
    conn: &mut PgConnection,
    filter: &TenantFilter,
    paging: &Paging<TenantId>,
) -> Result<Page<Tenant, TenantId>> {
    let rows = store::tenants::page(conn, filter, paging)?;
    Ok(Page { total: Some(store::tenants::count(conn, filter)?), ..Page::cut(rows, paging, |tenant| tenant.id) })
}

/// Returns one page of tenants, newest first, each with its figures. Runs in `Scope::Instance`.
pub fn page(
    tx: &mut Tx<'_>,
    filter: &TenantFilter,
    paging: &Paging<TenantId>,
) -> Result<Page<(Tenant, TenantFigures), TenantId>> {
    let now = tx.now;
    let rows = store::tenants::page(tx, filter, paging)?;
    let ids: Vec<TenantId> = rows.iter().map(|tenant| tenant.id).collect();
    let figures = store::tenants::figures(tx, &ids, now)?;
    Ok(Page::cut(rows, paging, |tenant| tenant.id).map(|tenant| {
        let none = TenantFigures { id: tenant.id, keys: 0, webhooks: 0, members: 0, last_activity_at: None };
        let own = figures.iter().find(|one| one.id == tenant.id).copied().unwrap_or(none);
        (tenant, own)
    }))
}

/// Returns the figures of one tenant. Runs in `Scope::Instance`.
pub fn figures(tx: &mut Tx<'_>, tenant: TenantId) -> Result<TenantFigures> {
    let now = tx.now;
    store::tenants::figures(tx, &[tenant], now)?.pop().ok_or(Error::NotFound(Noun::Tenant))
}

/// Changes a tenant. While it is suspended, its keys are refused and its deliveries wait.
pub fn update(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId, change: TenantChange) -> Result<Tenant> {
    let now = tx.now;
    let before = store::tenants::lock(tx, tenant)?.filter(|tenant| tenant.deleted_at.is_none());
    let before = before.ok_or(Error::NotFound(Noun::Tenant))?;
    if change.seen.is_some_and(|seen| seen != before.updated_at) {
        return Err(Error::conflict("this tenant was changed in the meantime: load it again, then repeat your change"));
    }
    let mut errors = FieldErrors::default();
    let name = change.name.as_deref().map(|name| errors.take("name", text::name(name)).unwrap_or_default());
    let plan = change.plan.as_deref().map(|plan| errors.take("plan", parse_plan(plan)).unwrap_or_default());
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let mut after = before.clone();
    if name.is_some() || plan.is_some() {
        let set = TenantSet { name: name.as_deref(), plan: plan.as_deref(), ..TenantSet::default() };
        after = store::tenants::update(tx, tenant, &set, now)?.ok_or(Error::NotFound(Noun::Tenant))?;
        let deed = AuditedAct::new("tenant.updated", target(tenant)).with("name", after.slug.as_str());
        audit::record_for_instance(tx, who, Some(tenant), deed.changing(facts(&before), facts(&after)))?;
        tx.announce(Change::Tenant(tenant));
    }
    match change.is_active {
        Some(false) => life::suspend(tx, who, tenant, None),
        Some(true) => life::resume(tx, who, tenant),
        None => Ok(after),
    }
}

fn facts(tenant: &Tenant) -> serde_json::Value {
    serde_json::json!({
        "name": tenant.name, "plan": tenant.plan, "key_prefix": tenant.key_prefix, "time_zone": tenant.time_zone,
    })
}

fn target(tenant: TenantId) -> String {
    format!("tenant:{tenant}")
}

/// Records that an operator who is not a member enters a tenant.
pub fn note_entry(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId) -> Result<()> {
    let slug = find(tx, &TenantRef::Id(tenant))?.slug;
    let deed = AuditedAct::new("tenant.entered", target(tenant)).with("name", slug);
    audit::record_for_instance(tx, who, Some(tenant), deed)
}

pub fn add_member(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId, user: UserId, role: Role) -> Result<Membership> {
    let now = tx.now;
    find(tx, &TenantRef::Id(tenant))?;
    user_named(tx, Some(user), None)?;
    plans::must_have_room(tx, tenant, LimitedResource::Member)?;
    let membership = store::memberships::insert(tx, tenant, user, role, now)?;
    let deed = AuditedAct::new("member.added", format!("user:{user}")).with("role", role.as_str());
    audit::record_for_instance(tx, who, Some(tenant), deed)?;
    tx.announce(Change::Access);
    Ok(membership)
}

/// Returns the user to add to a tenant, who must not be the operator: a role they gave themselves would outlast a
/// demotion. An address finds only users who confirmed it, since accounts can be made under another person's address.
pub fn user_to_add(conn: &mut PgConnection, who: &Operator, id: Option<UserId>, email: Option<&str>) -> Result<User> {
    let user = user_named(conn, id, email)?;
    who.must_be_another(user.id)?;
    if id.is_none() && !user.is_email_confirmed {
        let says = "is not confirmed, so the account may belong to another person. Invite the address, or let its user set a password by a reset link";
        return Err(Error::field("email", Rejection::new("unconfirmed", says)));
    }
    Ok(user)
}

/// Finds a user by id or by e-mail address.
pub fn user_named(conn: &mut PgConnection, id: Option<UserId>, email: Option<&str>) -> Result<User> {
    let found = match (id, email) {
        (Some(id), _) => store::users::find(conn, id)?,
        (None, Some(email)) => store::users::find_by_email(conn, &email::lookup(email))?,
        (None, None) => None,
    };
    found.ok_or(Error::NotFound(Noun::User))
}

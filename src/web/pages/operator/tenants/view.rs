//! What the operators' pages about tenants show.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::model::Tenant;
use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chip, Choice, Pager, When, seen};

#[derive(Template)]
#[template(path = "operator/tenants.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub search: String,
    pub states: Vec<Choice>,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub href: String,
    pub name: String,
    pub slug: String,
    pub plan: String,
    pub state: Badge,
    pub keys: String,
    pub webhooks: String,
    pub members: String,
    /// When something was last done with it.
    pub active: Option<When>,
}

/// The form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewForm {
    pub name: String,
    pub slug: String,
    pub plan: String,
}

#[derive(Template)]
#[template(path = "operator/new_tenant.html")]
pub struct New {
    pub shell: Shell,
    pub form: NewForm,
    pub plans: Vec<Choice>,
    pub errors: FieldErrors,
}

/// The form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantForm {
    pub name: String,
    pub plan: String,
    /// When the tenant was written that the form was filled with.
    pub seen: String,
}

impl TenantForm {
    pub fn of(tenant: &Tenant) -> Self {
        Self { name: tenant.name.clone(), plan: tenant.plan.clone(), seen: seen::seen(tenant.updated_at) }
    }
}

pub struct Facts {
    pub state: Badge,
    pub keys: String,
    pub webhooks: String,
    pub members: String,
    pub active: Option<When>,
    pub made: When,
    pub suspended: Option<When>,
    pub reason: Option<String>,
    /// When a deleted one is gone for good.
    pub erased: Option<When>,
}

#[derive(Template)]
#[template(path = "operator/tenant.html")]
pub struct Show {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub slug: String,
    pub facts: Facts,
    /// Whether somebody else saved it while this form was open.
    pub is_stale: bool,
    pub is_suspended: bool,
    pub is_deleted: bool,
    pub form: TenantForm,
    pub plans: Vec<Choice>,
    pub suspend: Ask,
    pub delete: Ask,
    /// Where these are posted.
    pub resume: String,
    pub restore: String,
    pub errors: FieldErrors,
}

//! View types of the operators' pages about tenants.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::model::Tenant;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chip, Choice, Confirmation, Pager, When, form_version};

/// Page with the list of tenants.
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

/// Tenant in the list.
pub struct Row {
    pub href: String,
    pub name: String,
    pub slug: String,
    pub plan: String,
    pub state: Badge,
    pub keys: String,
    pub webhooks: String,
    pub members: String,
    /// Time of the last activity.
    pub active: Option<When>,
}

/// Form of a new tenant as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewForm {
    pub name: String,
    pub slug: String,
    pub plan: String,
}

/// Page with the form of a new tenant.
#[derive(Template)]
#[template(path = "operator/new_tenant.html")]
pub struct New {
    pub shell: Shell,
    pub form: NewForm,
    pub plans: Vec<Choice>,
    pub errors: FieldErrors,
}

/// Form of a tenant as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantForm {
    pub name: String,
    pub plan: String,
    /// Time of the tenant's last change when the form was filled, to detect concurrent changes.
    pub seen: String,
}

impl TenantForm {
    pub fn of(tenant: &Tenant) -> Self {
        Self { name: tenant.name.clone(), plan: tenant.plan.clone(), seen: form_version::seen(tenant.updated_at) }
    }
}

/// State and figures of a tenant.
pub struct Facts {
    pub state: Badge,
    pub keys: String,
    pub webhooks: String,
    pub members: String,
    pub active: Option<When>,
    pub made: When,
    pub suspended: Option<When>,
    pub reason: Option<String>,
    /// When a deleted tenant is erased.
    pub erased: Option<When>,
}

/// Page of one tenant.
#[derive(Template)]
#[template(path = "operator/tenant.html")]
pub struct Show {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub slug: String,
    pub facts: Facts,
    /// True if another user saved the tenant while this form was open.
    pub is_stale: bool,
    pub is_suspended: bool,
    pub is_deleted: bool,
    pub form: TenantForm,
    pub plans: Vec<Choice>,
    pub suspend: Confirmation,
    pub delete: Confirmation,
    /// URL to which the form to resume the tenant is posted.
    pub resume: String,
    /// URL to which the form to restore the tenant is posted.
    pub restore: String,
    pub errors: FieldErrors,
}

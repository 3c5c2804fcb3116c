//! Frame of a signed-in user's page: navigation, tenant choice and flash message.

use std::collections::BTreeSet;

use super::flash::Flash;
use crate::domain::{Actor, FieldErrors, Permission, Rejection, Role, TenantId};

/// Frame of a page. Templates read it; handlers get it with [`super::auth::SignedIn`].
#[derive(Debug, Clone)]
pub struct Shell {
    pub user_name: String,
    pub user_email: String,
    pub is_operator: bool,
    /// Tenant that the user works in.
    pub tenant: TenantChoice,
    /// Tenants that the user may switch to.
    pub tenants: Vec<TenantChoice>,
    /// The user's role in the current tenant.
    pub role: Role,
    /// Value of the hidden field `_csrf`.
    pub csrf: String,
    /// Message about the last change.
    pub flash: Option<Flash>,
    /// Parameters of the URL that the page does not use: at first all, until the handler calls [`Shell::note_ignored`].
    pub ignored: FieldErrors,
    /// Path of the request, used to mark the current entry of the navigation.
    pub path: String,
    /// The user as an actor, used for permission checks in templates.
    pub rights: Actor,
}

/// Refuses each of these parameters as unknown to a page, naming each once.
pub fn unknown_parameters(names: impl IntoIterator<Item = String>) -> FieldErrors {
    let mut errors = FieldErrors::default();
    for name in names.into_iter().collect::<BTreeSet<_>>() {
        errors.add(name, Rejection::new("unknown", "is not a parameter of this page"));
    }
    errors
}

/// Tenant id of a user who works in no tenant.
pub const NOWHERE: TenantId = TenantId(0);

/// Tenant as the navigation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantChoice {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub is_active: bool,
    /// Reason of the suspension, if one was given.
    pub reason: Option<String>,
    /// Time zone in which members read times. `None`: each member uses their browser's.
    pub time_zone: Option<String>,
}

impl TenantChoice {
    /// Returns the placeholder for a user who works in no tenant.
    pub fn nowhere() -> Self {
        let (slug, name) = (String::new(), "No tenant".to_owned());
        Self { id: NOWHERE, name, slug, is_active: true, reason: None, time_zone: None }
    }
}

impl Shell {
    /// Adds a message that parts of the page's URL were invalid and do not filter the page.
    pub fn note_ignored(&mut self, ignored: &FieldErrors) {
        self.ignored = ignored.clone();
    }

    /// Returns a sentence that names each unused parameter, if there is one.
    pub fn ignored_note(&self) -> Option<String> {
        let each: Vec<_> = self.ignored.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
        (!each.is_empty()).then(|| format!("Gatepost ignored a part of this page's address: {}.", each.join("; ")))
    }

    /// True if the current page belongs to the navigation entry `root`.
    pub fn is_at(&self, root: &str) -> bool {
        match root {
            "/" => self.path == "/",
            _ => self.path == root || self.path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// True if the user works in a tenant.
    pub fn is_somewhere(&self) -> bool {
        self.tenant.id != NOWHERE
    }

    pub fn may_write_keys(&self) -> bool {
        self.rights.may(Permission::WriteKeys)
    }

    pub fn may_write_many_keys(&self) -> bool {
        self.rights.may(Permission::WriteManyKeys)
    }

    pub fn may_write_webhooks(&self) -> bool {
        self.rights.may(Permission::WriteWebhooks)
    }

    pub fn may_delete_webhooks(&self) -> bool {
        self.rights.may(Permission::DeleteWebhooks)
    }

    pub fn may_write_members(&self) -> bool {
        self.rights.may(Permission::WriteMembers)
    }

    pub fn may_read_audit(&self) -> bool {
        self.rights.may(Permission::ReadAudit)
    }

    pub fn may_publish(&self) -> bool {
        self.rights.may(Permission::WriteEvents)
    }
}

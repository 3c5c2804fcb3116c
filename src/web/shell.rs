//! What every page of a signed-in person needs around its content.

use super::flash::Flash;
use crate::domain::{Actor, FieldErrors, Permission, Role, TenantId};

/// The frame of a page. Templates read it; handlers get it with [`super::auth::SignedIn`].
#[derive(Debug, Clone)]
pub struct Shell {
    pub user_name: String,
    pub user_email: String,
    pub is_operator: bool,
    pub tenant: TenantChoice,
    /// Where else this person may work.
    pub tenants: Vec<TenantChoice>,
    pub role: Role,
    /// The value of the hidden field `_csrf`.
    pub csrf: String,
    pub flash: Option<Flash>,
    /// The path that was asked for, for marking the place in the navigation.
    pub path: String,
    pub rights: Actor,
}

/// No tenant's: where somebody is who works in none.
pub const NOWHERE: TenantId = TenantId(0);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantChoice {
    pub id: TenantId,
    pub name: String,
    pub slug: String,
    pub is_active: bool,
    /// Why it is suspended, where that was said.
    pub reason: Option<String>,
    /// In which its people read times; none: each in their own.
    pub time_zone: Option<String>,
}

impl TenantChoice {
    /// For somebody who works in no tenant.
    pub fn nowhere() -> Self {
        let (slug, name) = (String::new(), "No tenant".to_owned());
        Self { id: NOWHERE, name, slug, is_active: true, reason: None, time_zone: None }
    }
}

impl Shell {
    /// Tells that parts of the page's URL were not understood and do not narrow what it shows.
    pub fn note_ignored(&mut self, ignored: &FieldErrors) {
        if ignored.is_empty() {
            return;
        }
        let each: Vec<_> = ignored.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
        let says = format!("This page is shown without a part of its address: {}.", each.join("; "));
        let before = self.flash.take().map(|flash| flash.text);
        let texts: Vec<_> = before.into_iter().chain([says]).collect();
        self.flash = Some(Flash::bad(texts.join(" ")));
    }

    /// Whether the navigation's entry for `root` is where we are.
    pub fn is_at(&self, root: &str) -> bool {
        match root {
            "/" => self.path == "/",
            _ => self.path == root || self.path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    /// Whether there is a tenant around this page.
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

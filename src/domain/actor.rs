//! Who acts, in which tenant, with which rights: the first argument of every service that changes something.

use std::net::IpAddr;

use super::error::{Error, Result};
use super::ids::{ApiKeyId, TenantId, UserId};
use super::scope::ScopeSet;

crate::text_enum! {
    /// What a user may do in a tenant (docs/api.md). Later ones may more.
    pub enum Role {
        Viewer = "viewer",
        Developer = "developer",
        Admin = "admin",
        Owner = "owner",
    }
}

crate::text_enum! {
    /// The door through which an actor came.
    pub enum Via {
        Page = "page",
        Api = "api",
        Cli = "cli",
        System = "system",
    }
}

/// What a service may demand of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    ReadKeys,
    /// Create, edit and revoke keys; a developer only their own (see [`Actor::must_own`]).
    WriteKeys,
    /// Revoke, tag and delete many keys at once.
    WriteManyKeys,
    VerifyKeys,
    ReadWebhooks,
    /// Create, edit, test and pause webhooks; a developer only their own (see [`Actor::must_own`]).
    WriteWebhooks,
    DeleteWebhooks,
    /// See signing secrets; a developer only those of their own webhooks.
    RevealSecrets,
    ReadEvents,
    /// Publish; redeliver and cancel deliveries, a developer only those of their own webhooks.
    WriteEvents,
    ReadUsage,
    WriteUsage,
    ReadMembers,
    WriteMembers,
    /// Make somebody an owner, or an owner something else.
    MakeOwners,
    ReadTenant,
    /// Its settings.
    WriteTenant,
    DeleteTenant,
    ReadAudit,
}

impl Permission {
    /// The scope that an access token or API key needs for it.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::ReadKeys => "keys:read",
            Self::WriteKeys | Self::WriteManyKeys => "keys:write",
            Self::VerifyKeys => "keys:verify",
            Self::ReadWebhooks => "webhooks:read",
            Self::WriteWebhooks | Self::DeleteWebhooks | Self::RevealSecrets => "webhooks:write",
            Self::ReadEvents => "events:read",
            Self::WriteEvents => "events:write",
            Self::ReadUsage => "usage:read",
            Self::WriteUsage => "usage:write",
            Self::ReadMembers => "members:read",
            Self::WriteMembers | Self::MakeOwners => "members:write",
            Self::ReadTenant => "tenants:read",
            Self::WriteTenant | Self::DeleteTenant => "tenants:write",
            Self::ReadAudit => "audit:read",
        }
    }

    /// The least role that has it.
    pub const fn role(self) -> Role {
        match self {
            Self::ReadKeys | Self::ReadWebhooks | Self::ReadEvents | Self::ReadUsage | Self::ReadTenant => Role::Viewer,
            Self::WriteKeys
            | Self::VerifyKeys
            | Self::WriteWebhooks
            | Self::RevealSecrets
            | Self::WriteEvents
            | Self::WriteUsage => Role::Developer,
            Self::WriteManyKeys
            | Self::DeleteWebhooks
            | Self::ReadMembers
            | Self::WriteMembers
            | Self::WriteTenant
            | Self::ReadAudit => Role::Admin,
            Self::MakeOwners | Self::DeleteTenant => Role::Owner,
        }
    }
}

/// What an actor's rights rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A person, in a page or by an access token: role and scopes must both allow.
    Person { role: Role, scopes: ScopeSet },
    /// An API key: its scopes alone.
    Key { id: ApiKeyId, scopes: ScopeSet },
}

impl Authority {
    /// Refuses with 403 unless role and scopes allow it.
    pub fn must(&self, permission: Permission) -> Result<()> {
        match self {
            Self::Person { role, scopes } => Self::person_must(*role, scopes, permission),
            Self::Key { scopes, .. } => Self::scopes_must(scopes, permission),
        }
    }

    /// The same for a person of this role with these scopes.
    pub fn person_must(role: Role, scopes: &ScopeSet, permission: Permission) -> Result<()> {
        if role < permission.role() {
            return Err(Error::forbidden(format!("this needs the role {} or higher", permission.role())));
        }
        Self::scopes_must(scopes, permission)
    }

    fn scopes_must(scopes: &ScopeSet, permission: Permission) -> Result<()> {
        if !scopes.allows(permission.scope()) {
            return Err(Error::missing_scopes(&[permission.scope()]));
        }
        Ok(())
    }
}

/// Somebody acting in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    pub tenant: TenantId,
    pub user: Option<UserId>,
    pub is_operator: bool,
    pub authority: Authority,
    pub via: Via,
    /// For the audit log: an e-mail address, a key's hint, `system`.
    pub label: String,
    pub ip: Option<IpAddr>,
    pub request_id: Option<String>,
}

impl Actor {
    /// Refuses with 403 unless role and scopes allow it.
    pub fn must(&self, permission: Permission) -> Result<()> {
        self.authority.must(permission)
    }

    /// Whether [`Actor::must`] would pass: for pages that hide what would be refused.
    pub fn may(&self, permission: Permission) -> bool {
        self.must(permission).is_ok()
    }

    /// For acts that a developer may do to what is theirs only; admins and owners to everything.
    pub fn must_own(&self, permission: Permission, owner: Option<UserId>) -> Result<()> {
        self.must(permission)?;
        match &self.authority {
            Authority::Person { role, .. } if *role < Role::Admin && (owner.is_none() || owner != self.user) => {
                Err(Error::forbidden("this belongs to another member: changing it needs the role admin or higher"))
            }
            _ => Ok(()),
        }
    }

    /// True if [`Actor::must_own`] would pass: for pages that hide what would be refused.
    pub fn may_own(&self, permission: Permission, owner: Option<UserId>) -> bool {
        self.must_own(permission, owner).is_ok()
    }

    /// Gatepost itself, at work in a tenant.
    pub fn system(tenant: TenantId) -> Self {
        Self {
            tenant,
            user: None,
            is_operator: false,
            authority: Authority::Person { role: Role::Owner, scopes: ScopeSet::all() },
            via: Via::System,
            label: "system".to_owned(),
            ip: None,
            request_id: None,
        }
    }

    /// The key that acts, if it is one.
    pub fn key(&self) -> Option<ApiKeyId> {
        match self.authority {
            Authority::Key { id, .. } => Some(id),
            Authority::Person { .. } => None,
        }
    }
}

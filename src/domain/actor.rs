//! Actors: who acts, in which tenant, with which rights. Every service that changes something takes one.

use std::net::IpAddr;

use super::error::{Error, Result};
use super::ids::{ApiKeyId, TenantId, UserId};
use super::scope::ScopeSet;

crate::text_enum! {
    /// Role of a user in a tenant (docs/api.md), ordered by increasing privilege.
    pub enum Role {
        Viewer = "viewer",
        Developer = "developer",
        Admin = "admin",
        Owner = "owner",
    }
}

crate::text_enum! {
    /// Interface through which an actor came.
    pub enum Via {
        Page = "page",
        Api = "api",
        Cli = "cli",
        System = "system",
    }
}

/// Permission that a service can require of its actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// List and read keys.
    ReadKeys,
    /// Create, edit and revoke keys; a developer only their own (see [`Actor::must_own`]).
    WriteKeys,
    /// Revoke, tag and delete many keys at once.
    WriteManyKeys,
    /// Verify keys.
    VerifyKeys,
    /// List and read webhooks.
    ReadWebhooks,
    /// Create, edit, test and pause webhooks; a developer only their own (see [`Actor::must_own`]).
    WriteWebhooks,
    /// Delete webhooks.
    DeleteWebhooks,
    /// See signing secrets; a developer only those of their own webhooks.
    RevealSecrets,
    /// Read events and deliveries.
    ReadEvents,
    /// Publish events; redeliver and cancel deliveries, a developer only those of their own webhooks.
    WriteEvents,
    /// Read usage.
    ReadUsage,
    /// Report usage.
    WriteUsage,
    /// List members.
    ReadMembers,
    /// Invite, change and remove members.
    WriteMembers,
    /// Give the role owner to a member, or take it away.
    MakeOwners,
    /// Read the tenant's settings.
    ReadTenant,
    /// Change the tenant's settings.
    WriteTenant,
    /// Delete the tenant.
    DeleteTenant,
    /// Read the audit log.
    ReadAudit,
}

impl Permission {
    /// Returns the scope that an access token or API key needs for it.
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

    /// Returns the lowest role that has it.
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

/// Basis of an actor's rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// A user, in a page or with an access token: role and scopes must both allow an act.
    Person { role: Role, scopes: ScopeSet },
    /// An API key: its scopes alone decide.
    Key { id: ApiKeyId, scopes: ScopeSet },
}

impl Authority {
    /// Fails with 403 unless role and scopes give the permission.
    pub fn must(&self, permission: Permission) -> Result<()> {
        match self {
            Self::Person { role, scopes } => Self::person_must(*role, scopes, permission),
            Self::Key { scopes, .. } => Self::scopes_must(scopes, permission),
        }
    }

    /// Fails with 403 unless this role and these scopes give the permission to a user.
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

/// An actor in one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Tenant in which it acts.
    pub tenant: TenantId,
    /// User who acts, or for whom a token acts, if any.
    pub user: Option<UserId>,
    /// True for an operator of the instance.
    pub is_operator: bool,
    /// Basis of its rights.
    pub authority: Authority,
    /// Interface through which it came.
    pub via: Via,
    /// Name for the audit log: an e-mail address, a key's hint, or `system`.
    pub label: String,
    /// IP address of the client.
    pub ip: Option<IpAddr>,
    /// Id of the request.
    pub request_id: Option<String>,
}

impl Actor {
    /// Fails with 403 unless role and scopes give the permission.
    pub fn must(&self, permission: Permission) -> Result<()> {
        self.authority.must(permission)
    }

    /// True if [`Actor::must`] would pass: for pages that hide what would be refused.
    pub fn may(&self, permission: Permission) -> bool {
        self.must(permission).is_ok()
    }

    /// Fails with 403 unless the permission is given, and a developer owns the object. Admins and owners may act on
    /// any object.
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

    /// Returns the actor that stands for Gatepost itself in a tenant.
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

    /// Returns the API key that acts, if it is one.
    pub fn key(&self) -> Option<ApiKeyId> {
        match self.authority {
            Authority::Key { id, .. } => Some(id),
            Authority::Person { .. } => None,
        }
    }
}

//! Command `gatepost members`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::console::{Console, actor_in};
use super::{say, tell};
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::{Result as Done, Role, UserId};
use crate::services::invitations::{self, InvitationRequest};
use crate::services::{Operator, members, tenants};
use crate::store::Tx;
use crate::web::urls;

#[derive(Debug, Args)]
pub struct Which {
    /// E-mail address of the user.
    #[arg(long)]
    user: String,
    /// Slug of the tenant.
    #[arg(long)]
    tenant: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the members of a tenant with their roles.
    List {
        /// Slug of the tenant.
        #[arg(long)]
        tenant: String,
    },
    /// Add a user to a tenant.
    Add {
        #[command(flatten)]
        which: Which,
        /// Role of the member: viewer, developer, admin or owner.
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Change a member's role.
    Role {
        #[command(flatten)]
        which: Which,
        /// New role: viewer, developer, admin or owner.
        #[arg(long, value_parser = role)]
        role: Role,
    },
    /// Remove a member from a tenant. API keys that they made stay.
    Remove {
        #[command(flatten)]
        which: Which,
    },
    /// Create an invitation link to a tenant. Prints only the link, once.
    Invite {
        /// E-mail address that the person signs in with, or will.
        #[arg(long)]
        email: String,
        /// Slug of the tenant.
        #[arg(long)]
        tenant: String,
        /// Role of the new member: viewer, developer, admin or owner.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Days for which the link works.
        #[arg(long, value_name = "DAYS", default_value_t = invitations::USUAL_DAYS)]
        expires_in_days: i64,
    },
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|rejection: crate::domain::Rejection| rejection.detail)
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    match command {
        Command::List { tenant } => list(&settings, &tenant, json),
        Command::Add { which, role } => add(&settings, &which, role, json),
        Command::Role { which: Which { user, tenant }, role } => {
            let mut house = Console::open(&settings)?;
            house.tx(|tx, _| {
                let actor = actor_in(tx, &tenant)?;
                let id = id_of(tx, &user)?;
                members::change_role(tx, &actor, id, role)
            })?;
            tell(json, &json!({"user": user, "role": role}), &format!("{user} is {role} of {tenant}"))
        }
        Command::Remove { which: Which { user, tenant } } => {
            let mut house = Console::open(&settings)?;
            house.tx(|tx, _| {
                let actor = actor_in(tx, &tenant)?;
                let id = id_of(tx, &user)?;
                members::remove(tx, &actor, id)
            })?;
            tell(json, &json!({"user": user}), &format!("{user} is no longer a member of {tenant}"))
        }
        Command::Invite { email, tenant, role, expires_in_days } => {
            let ask = InvitationRequest::parse(&email, role.as_str(), ("expires_in_days", Some(expires_in_days)))?;
            invite(&settings, &tenant, &ask, json)
        }
    }
}

fn id_of(tx: &mut Tx<'_>, email: &str) -> Done<UserId> {
    Ok(tenants::user_named(tx, None, Some(email))?.id)
}

fn list(settings: &Settings, tenant: &str, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let found = house.read(|tx| {
        let actor = actor_in(tx, tenant)?;
        members::list(tx, &actor)
    })?;
    for (member, user) in found {
        let value = json!({"user_id": user.id, "email": user.email, "name": user.name, "role": member.role});
        tell(json, &value, &format!("{:<10} {} ({})", member.role, user.email, user.name))?;
    }
    Ok(())
}

fn add(settings: &Settings, which: &Which, role: Role, json: bool) -> Result<(), Failure> {
    let Which { user, tenant } = which;
    let mut house = Console::open(settings)?;
    let membership = house.tx(|tx, _| {
        let actor = actor_in(tx, tenant)?;
        let id = tenants::user_to_add(tx, &Operator::at_the_console(), None, Some(user))?.id;
        tenants::add_member(tx, &Operator::at_the_console(), actor.tenant, id, role)
    })?;
    let value = json!({"tenant_id": membership.tenant_id, "user_id": membership.user_id, "role": membership.role});
    tell(json, &value, &format!("{user} is {role} of {tenant}"))
}

fn invite(settings: &Settings, tenant: &str, ask: &InvitationRequest, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(settings)?;
    let made = house.tx(|tx, _| {
        let actor = actor_in(tx, tenant)?;
        invitations::create(tx, &actor, ask)
    })?;
    let link = settings.public_url.join(&urls::invitation_with(&made.token));
    let link = link.map_err(|error| Failure::new(error.to_string()))?;
    let value = json!({"id": made.invitation.id, "link": link, "expires_at": made.invitation.expires_at});
    say(&if json { value.to_string() } else { link.to_string() })
}

//! `gatepost members`.

use clap::Subcommand;
use serde_json::json;

use super::house::{House, actor_in};
use super::tell;
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::Role;
use crate::services::{Operator, tenants};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a user a member of a tenant.
    Add {
        /// The user's e-mail address.
        #[arg(long)]
        user: String,
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        #[arg(long, value_parser = role)]
        role: Role,
    },
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|rejection: crate::domain::Rejection| rejection.detail)
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let Command::Add { user, tenant, role } = command;
    let mut house = House::open(&settings)?;
    let now = house.clock.now();
    let membership = house.tx(|conn, _| {
        let actor = actor_in(conn, &tenant)?;
        let user = tenants::user_named(conn, None, Some(&user))?;
        tenants::add_member(conn, &Operator::at_the_console(), actor.tenant, user.id, role, now)
    })?;
    let value = json!({"tenant_id": membership.tenant_id, "user_id": membership.user_id, "role": membership.role});
    tell(json, &value, &format!("{user} is {role} of {tenant}"))
}

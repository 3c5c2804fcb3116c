//! `gatepost tenants`.

use clap::Subcommand;
use serde_json::json;

use super::house::House;
use super::tell;
use crate::app::Failure;
use crate::config::Settings;
use crate::services::Operator;
use crate::services::tenants::{self, NewTenant};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a tenant.
    Create {
        #[arg(long)]
        name: String,
        /// Its short name in commands and URLs; otherwise made from the name.
        #[arg(long)]
        slug: Option<String>,
        /// free, pro or unlimited.
        #[arg(long, value_parser = tenants::PLANS)]
        plan: Option<String>,
    },
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let Command::Create { name, slug, plan } = command;
    let ask = NewTenant::parse(&name, slug.as_deref(), plan.as_deref())?;
    let mut house = House::open(&settings)?;
    let now = house.clock.now();
    let tenant = house.tx(|conn, _| tenants::create(conn, &Operator::at_the_console(), &ask, now))?;
    let value = json!({"id": tenant.id, "slug": tenant.slug, "name": tenant.name, "plan": tenant.plan});
    tell(json, &value, &format!("Made tenant {} ({})", tenant.id, tenant.slug))
}

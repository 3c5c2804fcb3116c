//! Command `gatepost tenants`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::console::Console;
use super::tell;
use crate::app::Failure;
use crate::config::Settings;
use crate::domain::page::Paging;
use crate::domain::tenant::TenantState;
use crate::domain::{Rejection, Result as Done, TenantId};
use crate::model::Tenant;
use crate::services::Operator;
use crate::services::tenants::{self, NewTenant, TenantChange, TenantFilter, life};
use crate::store::Tx;

#[derive(Debug, Args)]
pub struct Which {
    /// Slug of the tenant.
    #[arg(long)]
    tenant: String,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a tenant.
    Create {
        /// Name of the tenant.
        #[arg(long)]
        name: String,
        /// Short name for commands and URLs. Default: derived from the name.
        #[arg(long)]
        slug: Option<String>,
        /// Plan of the tenant: free, pro or unlimited.
        #[arg(long, value_parser = tenants::PLANS)]
        plan: Option<String>,
    },
    /// List tenants, newest first, with their numbers of keys, webhooks and members.
    List {
        /// Search in names and slugs.
        #[arg(long)]
        search: Option<String>,
        /// Only tenants in this state: active, suspended or deleted. Default: all but deleted ones.
        #[arg(long, value_parser = state)]
        state: Option<TenantState>,
    },
    /// Change a tenant's name or plan.
    Update {
        #[command(flatten)]
        which: Which,
        /// New name of the tenant.
        #[arg(long)]
        name: Option<String>,
        /// New plan of the tenant: free, pro or unlimited.
        #[arg(long, value_parser = tenants::PLANS)]
        plan: Option<String>,
    },
    /// Suspend a tenant: refuse its keys and hold its deliveries until it is resumed.
    Suspend {
        #[command(flatten)]
        which: Which,
        /// Reason, shown to the tenant's members.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Resume a suspended tenant: accept its keys and send waiting deliveries.
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Delete a tenant. It can be restored for 30 days, then all of its data is erased.
    Delete {
        #[command(flatten)]
        which: Which,
    },
    /// Restore a deleted tenant to its former state.
    Restore {
        #[command(flatten)]
        which: Which,
    },
}

fn state(text: &str) -> Result<TenantState, String> {
    text.parse().map_err(|rejection: Rejection| rejection.detail)
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(&settings)?;
    let who = Operator::at_the_console();
    let mut change = |slug: &str, work: &dyn Fn(&mut Tx<'_>, TenantId) -> Done<Tenant>| {
        house.tx(|tx, _| {
            let id = tenants::find_any_by_slug(tx, slug)?.id;
            work(tx, id)
        })
    };
    let (tenant, done) = match command {
        Command::List { search, state } => {
            return list(&mut house, &TenantFilter { only: None, text: search, state }, json);
        }
        Command::Create { name, slug, plan } => {
            let ask = NewTenant::parse(&name, slug.as_deref(), plan.as_deref())?;
            let tenant = house.tx(|tx, _| tenants::create(tx, &who, &ask))?;
            let done = format!("Created tenant {} ({})", tenant.id, tenant.slug);
            (tenant, done)
        }
        Command::Update { which, name, plan } => {
            let ask = TenantChange { name, plan, ..TenantChange::default() };
            let tenant = change(&which.tenant, &|tx, id| tenants::update(tx, &who, id, ask.clone()))?;
            (tenant, format!("{} is changed", which.tenant))
        }
        Command::Suspend { which, reason } => {
            let tenant = change(&which.tenant, &|tx, id| life::suspend(tx, &who, id, reason.as_deref()))?;
            (tenant, format!("{} is suspended: its keys are refused, its deliveries wait", which.tenant))
        }
        Command::Resume { which } => {
            let tenant = change(&which.tenant, &|tx, id| life::resume(tx, &who, id))?;
            (tenant, format!("{} is active", which.tenant))
        }
        Command::Delete { which } => {
            let tenant = change(&which.tenant, &|tx, id| life::delete(tx, &who, id))?;
            (tenant, format!("{} is deleted: restore it within 30 days with `gatepost tenants restore`", which.tenant))
        }
        Command::Restore { which } => {
            let tenant = change(&which.tenant, &|tx, id| life::restore(tx, &who, id))?;
            let done = format!("{} is restored in its former state: {}", which.tenant, tenant.state());
            (tenant, done)
        }
    };
    tell(json, &value(&tenant), &done)
}

fn value(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id, "slug": tenant.slug, "name": tenant.name, "plan": tenant.plan, "state": tenant.state(),
        "suspended_reason": tenant.suspended_reason,
    })
}

fn list(house: &mut Console, filter: &TenantFilter, json: bool) -> Result<(), Failure> {
    let mut paging = Paging::default();
    loop {
        let page = house.read(|tx| tenants::page(tx, filter, &paging))?;
        for (tenant, figures) in page.rows {
            let (keys, webhooks, members) = (figures.keys, figures.webhooks, figures.members);
            let mut value = value(&tenant);
            if let Value::Object(fields) = &mut value {
                fields.insert("keys".to_owned(), keys.into());
                fields.insert("webhooks".to_owned(), webhooks.into());
                fields.insert("members".to_owned(), members.into());
            }
            let (slug, state, plan) = (&tenant.slug, tenant.state(), &tenant.plan);
            let line = format!("{slug:<24} {state:<10} {plan:<10} {keys} keys, {webhooks} webhooks, {members} members");
            tell(json, &value, &line)?;
        }
        match page.older {
            Some(before) => paging.before = Some(before),
            None => return Ok(()),
        }
    }
}

//! Command `gatepost plans`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::console::Console;
use super::tell;
use crate::app::Failure;
use crate::config::Settings;
use crate::model::Plan;
use crate::services::Operator;
use crate::services::plans::{self, PlanChange};
use crate::services::tenants;

/// Limit given as a number, or `none` for no limit.
#[derive(Debug, Clone, Copy)]
pub struct Limit(Option<i64>);

fn limit(text: &str) -> Result<Limit, String> {
    match text {
        "none" => Ok(Limit(None)),
        number => number.parse().map(|most| Limit(Some(most))).map_err(|_| "must be a number, or none".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct Change {
    /// Plan to change: free, pro or unlimited.
    #[arg(value_parser = tenants::PLANS)]
    name: String,
    /// Maximum number of API keys of a tenant.
    #[arg(long, value_name = "NUMBER|none", value_parser = limit)]
    max_keys: Option<Limit>,
    /// Maximum number of webhooks of a tenant.
    #[arg(long, value_name = "NUMBER|none", value_parser = limit)]
    max_webhooks: Option<Limit>,
    /// Maximum number of members of a tenant.
    #[arg(long, value_name = "NUMBER|none", value_parser = limit)]
    max_members: Option<Limit>,
    /// Maximum number of events of a tenant in a calendar month.
    #[arg(long, value_name = "NUMBER|none", value_parser = limit)]
    max_events_per_month: Option<Limit>,
    /// Requests per hour of keys without a limit of their own.
    #[arg(long, value_name = "NUMBER")]
    default_rate_limit: Option<i64>,
    /// Highest limit that a key may have, in requests per hour.
    #[arg(long, value_name = "NUMBER|none", value_parser = limit)]
    max_rate_limit: Option<Limit>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List plans and what each allows.
    List,
    /// Change a plan for all of its tenants. Limits that are not given stay.
    Update(Change),
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<(), Failure> {
    let mut house = Console::open(&settings)?;
    let plans = match command {
        Command::List => house.read(|tx| plans::list(tx))?,
        Command::Update(ask) => {
            let most = |limit: Option<Limit>| limit.map(|limit| limit.0);
            let change = PlanChange {
                max_keys: most(ask.max_keys),
                max_webhooks: most(ask.max_webhooks),
                max_members: most(ask.max_members),
                max_events_per_month: most(ask.max_events_per_month),
                default_rate_limit: ask.default_rate_limit,
                max_rate_limit: most(ask.max_rate_limit),
                seen: None,
            };
            let who = Operator::at_the_console();
            vec![house.tx(|tx, _| plans::update(tx, &who, &ask.name, &change))?]
        }
    };
    plans.iter().try_for_each(|plan| tell(json, &value(plan), &line(plan)))
}

fn value(plan: &Plan) -> Value {
    json!({
        "name": plan.name, "max_keys": plan.max_keys, "max_webhooks": plan.max_webhooks,
        "max_members": plan.max_members, "max_events_per_month": plan.max_events_per_month,
        "default_rate_limit": plan.default_rate_limit, "max_rate_limit": plan.max_rate_limit,
    })
}

fn line(plan: &Plan) -> String {
    let most = |limit: Option<i64>| limit.map_or_else(|| "any number of".to_owned(), |most| most.to_string());
    let highest = plan.max_rate_limit.map_or_else(String::new, |most| format!(", at most {most}"));
    format!(
        "{:<10} {} keys, {} webhooks, {} members, {} events a month, {} requests an hour{highest}",
        plan.name,
        most(plan.max_keys),
        most(plan.max_webhooks),
        most(plan.max_members),
        most(plan.max_events_per_month),
        plan.default_rate_limit,
    )
}

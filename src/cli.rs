//! Command line: parses arguments, reads settings and runs one command.

mod audit;
mod console;
mod deliveries;
mod demo;
mod doctor;
mod events;
mod flags;
mod keys;
mod listing;
mod logs;
mod members;
mod plans;
mod secrets;
mod serve;
mod tenants;
mod tokens;
mod users;
mod webhooks;

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::app::Failure;
use crate::app::database::Database;
use crate::config::{Environment, LogFormat, Settings, Sources};
use crate::domain::text;
use flags::SettingFlags;

/// API keys in, webhooks out: issues and verifies API keys, and delivers events to webhooks.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve pages and API, and deliver webhooks, until stopped.
    Serve,
    /// Serve a demonstration with sample data, traffic and a webhook receiver of its own.
    Demo,
    /// Migrate the database to this version.
    Migrate,
    /// Print every setting and its source, and report problems.
    Doctor,
    /// Manage users: the people who sign in.
    #[command(subcommand)]
    Users(users::Command),
    /// Manage stored secrets and the master key that seals them.
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Manage tenants: customer organizations.
    #[command(subcommand)]
    Tenants(tenants::Command),
    /// Manage plans: what tenants may have.
    #[command(subcommand)]
    Plans(plans::Command),
    /// Manage members of tenants and their roles.
    #[command(subcommand)]
    Members(members::Command),
    /// Manage access tokens, which programs use to call the management API.
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Manage API keys, which customers' programs present.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Publish events, to be delivered to webhooks.
    #[command(subcommand)]
    Events(events::Command),
    /// Manage webhooks: endpoints that receive events.
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// Inspect, repeat and cancel deliveries of events to webhooks.
    #[command(subcommand)]
    Deliveries(deliveries::Command),
    /// Check the audit log.
    #[command(subcommand)]
    Audit(audit::Command),
}

/// Runs the requested command. Exit code 2: invalid arguments. Exit code 1: the command failed.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::ValueValidation => {
            eprint!("{}", text::plain_parse_error(&error.render().to_string()));
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    match run(cli) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("gatepost: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let sources = Sources::gather(cli.settings.values, Environment::of_process(), cli.settings.config)?;
    let json = cli.json;
    if let Command::Doctor = cli.command {
        return doctor::run(&sources, json);
    }
    if let Command::Demo = cli.command {
        let settings = demo::settings(sources)?;
        logs::start(&settings.log, settings.log_format);
        demo::run(settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let makes_instance = matches!(cli.command, Command::Serve | Command::Migrate);
    let settings = if makes_instance { Settings::load(&sources)? } else { Settings::load_existing(&sources)? };
    if let Command::Serve = cli.command {
        logs::start(&settings.log, settings.log_format);
        doctor::unknown_names(&sources).for_each(|says| tracing::warn!("{says}"));
        serve::run(settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    logs::start("warn", LogFormat::Text);
    match cli.command {
        Command::Serve | Command::Demo | Command::Doctor => {}
        Command::Migrate => migrate(&settings, json)?,
        Command::Users(command) => users::run(settings, command, json)?,
        Command::Tenants(command) => tenants::run(settings, command, json)?,
        Command::Secrets(command) => return secrets::run(settings, command, json),
        Command::Plans(command) => plans::run(settings, command, json)?,
        Command::Members(command) => members::run(settings, command, json)?,
        Command::Tokens(command) => tokens::run(settings, command, json)?,
        Command::Keys(command) => return keys::run(settings, command, json),
        Command::Events(command) => events::run(settings, command, json)?,
        Command::Webhooks(command) => webhooks::run(&settings, command, json)?,
        Command::Deliveries(command) => deliveries::run(&settings, command, json)?,
        Command::Audit(command) => return audit::run(settings, command, json),
    }
    Ok(ExitCode::SUCCESS)
}

fn migrate(settings: &Settings, json: bool) -> Result<(), Failure> {
    let ran = Database::open(settings)?.report.pending;
    if json {
        return say(&json!({ "ran": ran }).to_string());
    }
    match ran.as_slice() {
        [] => say("Nothing to do: all migrations have been run."),
        ran => say(&format!("Ran {}", ran.join(", "))),
    }
}

/// Prints a line to stdout. A closed stdout is an error, since a secret may have been lost with it.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.map_err(|error| Failure::new(format!("stdout can't be written: {error}")))
}

/// Prints a sentence, or the value as JSON.
fn tell(json: bool, value: &Value, sentence: &str) -> Result<(), Failure> {
    say(&if json { value.to_string() } else { sentence.to_owned() })
}

//! The command line: parses it, gathers the settings, runs one command.

mod flags;
mod logs;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::Failure;
use crate::config::{Environment, Settings, Sources};
use flags::SettingFlags;

/// API keys in, webhooks out: issues and checks API keys, and delivers events to webhooks.
#[derive(Debug, Parser)]
#[command(name = "gatepost", version, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve pages and API, and deliver webhooks, until stopped.
    Serve,
}

/// Runs the command that was asked for. Exit code 2: it was asked for wrongly; 1: it failed.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("gatepost: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let sources = Sources::gather(cli.settings.values, Environment::of_process(), cli.settings.config)?;
    match cli.command {
        Command::Serve => serve::run(Settings::load(&sources)?),
    }
}

//! Command `gatepost audit`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::console::Console;
use super::say;
use crate::app::Failure;
use crate::config::Settings;
use crate::services::audit::chain::{self, Reading};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check that no entry of the audit log was changed or removed. Exit code 1 if one was.
    Verify {
        /// Slug of the tenant whose log to check. Default: all tenants and the instance.
        #[arg(long, value_name = "SLUG")]
        tenant: Option<String>,
    },
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<ExitCode, Failure> {
    let Command::Verify { tenant } = command;
    let mut house = Console::open(&settings)?;
    let readings = house.read(|tx| chain::verify(tx, tenant.as_deref()))?;
    let is_whole = readings.iter().all(|reading| reading.broken.is_none());
    if json {
        let chains: Vec<Value> = readings.iter().map(value).collect();
        say(&json!({"whole": is_whole, "chains": chains}).to_string())?;
    } else {
        for reading in &readings {
            say(&sentence(reading))?;
        }
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn name(reading: &Reading) -> &str {
    reading.slug.as_deref().unwrap_or("(the instance)")
}

fn sentence(reading: &Reading) -> String {
    let (name, entries) = (name(reading), reading.entries);
    let Some(broken) = &reading.broken else {
        return match entries {
            0 => format!("{name}: no entries"),
            1 => format!("{name}: 1 entry is intact, {}", reading.head),
            _ => format!("{name}: {entries} entries are intact, {}", reading.head),
        };
    };
    let which = match &broken.entry {
        Some((id, action, at)) => format!(" (id {id}, {action}, {})", at.to_rfc3339()),
        None => String::new(),
    };
    format!("{name}: BROKEN at entry {}{which}: {}", broken.seq, broken.says)
}

fn value(reading: &Reading) -> Value {
    let broken = reading.broken.as_ref().map(|broken| {
        let entry = broken.entry.as_ref();
        let entry = entry.map(|(id, action, at)| json!({"id": id, "action": action, "created_at": at}));
        json!({"seq": broken.seq, "entry": entry, "detail": broken.says})
    });
    json!({"tenant": reading.slug, "entries": reading.entries, "head": reading.head, "broken": broken})
}

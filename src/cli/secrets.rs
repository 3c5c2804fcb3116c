//! Command `gatepost secrets`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::console::Console;
use super::{say, tell};
use crate::app::Failure;
use crate::config::Settings;
use crate::services::Operator;
use crate::services::secrets::{self, OfKey, ResealCursor};

/// Number of secrets re-sealed per transaction.
const BATCH: i64 = 100;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print how many secrets each master key has sealed.
    Status,
    /// Re-seal secrets of GATEPOST_MASTER_KEYS_OLD with GATEPOST_MASTER_KEY, while servers run.
    Rotate,
}

pub fn run(settings: Settings, command: Command, json: bool) -> Result<ExitCode, Failure> {
    let mut house = Console::open(&settings)?;
    match command {
        Command::Status => status(&mut house, &settings, json),
        Command::Rotate => rotate(&mut house, &settings, json),
    }
}

fn status(house: &mut Console, settings: &Settings, json: bool) -> Result<ExitCode, Failure> {
    let present = settings.vault().fingerprint();
    for OfKey { key, count } in house.read(|tx| secrets::by_key(tx))? {
        let is_present = key.as_ref() == Some(&present);
        let name = key.clone().unwrap_or_else(|| "a key that is not recorded".to_owned());
        let mark = if is_present { " (the current one)" } else { "" };
        let value = json!({"master_key": key, "is_present": is_present, "secrets": count});
        tell(json, &value, &format!("{count} sealed with {name}{mark}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rotate(house: &mut Console, settings: &Settings, json: bool) -> Result<ExitCode, Failure> {
    let vault = settings.vault();
    let present = vault.fingerprint();
    let all: i64 = others(house, &present)?;
    let (mut resealed, mut unopened, mut place) = (0, Vec::new(), Some(ResealCursor::default()));
    while let Some(from) = place {
        let batch = house.tx(|tx, _| secrets::reseal(tx, &vault, from, BATCH))?;
        if 0 < batch.resealed && !json {
            resealed += batch.resealed;
            say(&format!("{resealed} of {all}"))?;
        } else {
            resealed += batch.resealed;
        }
        unopened.extend(batch.unopened);
        place = batch.next;
    }
    if 0 < resealed {
        house.tx(|tx, _| secrets::note(tx, &Operator::at_the_console(), &vault, resealed))?;
    }
    let left = others(house, &present)?;
    let sentence = if !unopened.is_empty() {
        format!("{} secrets can't be opened with the given keys: {}", unopened.len(), unopened.join(", "))
    } else if 0 < left {
        format!(
            "{left} secrets were sealed with an old key in the meantime: restart every process with the current key, then run this command again"
        )
    } else {
        format!(
            "All secrets are sealed with {present}. Remove GATEPOST_MASTER_KEYS_OLD after every process runs with this key as GATEPOST_MASTER_KEY."
        )
    };
    let value = json!({"master_key": present, "resealed": resealed, "left": left, "unopened": unopened});
    tell(json, &value, &sentence)?;
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Counts secrets that are sealed with another key than the current one.
fn others(house: &mut Console, present: &str) -> Result<i64, Failure> {
    let all = house.read(|tx| secrets::by_key(tx))?;
    Ok(all.iter().filter(|of| of.key.as_deref() != Some(present)).map(|of| of.count).sum())
}

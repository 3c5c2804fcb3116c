//! Command `gatepost doctor`: prints every setting with its source, and problems. Changes nothing.

use std::process::ExitCode;

use serde_json::json;

use super::say;
use crate::app::Failure;
use crate::config::{Missing, Redis, Refusal, Settings, Sources};
use crate::domain::Error;
use crate::gate::shared;
use crate::services::instance;
use crate::store::embedded::{self, Embedded};
use crate::store::migrations::{self, Report};
use crate::store::pooler;

/// Results of the checks.
#[derive(Default)]
struct Findings {
    fine: Vec<String>,
    wrong: Vec<String>,
}

/// Returns a sentence for each variable that looks like a misspelled setting.
pub fn unknown_names(sources: &Sources) -> impl Iterator<Item = String> {
    let names = sources.environment.unknown_names().into_iter();
    names.map(|name| format!("{name} is set in the environment, but no setting has this name: correct or remove it"))
}

/// Runs all checks. Exit code 1 if there is a problem.
pub fn run(sources: &Sources, json: bool) -> Result<ExitCode, Failure> {
    let mut findings = Findings::default();
    findings.wrong.extend(unknown_names(sources));
    let settings = Settings::examine(sources, Missing::Leave);
    match &settings {
        Ok(settings) => {
            database(settings, &mut findings);
            redis(settings, &mut findings);
        }
        Err(refusals) => findings.wrong.extend(refusals.iter().map(Refusal::to_string)),
    }
    let in_force = settings.map(|settings| settings.in_force).unwrap_or_default();
    if json {
        let rows = in_force
            .iter()
            .map(|it| json!({"setting": it.setting.env, "value": it.value, "origin": it.origin.to_string()}));
        say(&json!({"settings": rows.collect::<Vec<_>>(), "fine": findings.fine, "wrong": findings.wrong}).to_string())?;
    } else {
        for it in &in_force {
            say(&format!("{:<36} {:<34} {}", it.setting.env, it.value, it.origin))?;
        }
        findings.fine.iter().try_for_each(|line| say(&format!("ok     {line}")))?;
        findings.wrong.iter().try_for_each(|line| say(&format!("WRONG  {line}")))?;
    }
    Ok(if findings.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn database(settings: &Settings, findings: &mut Findings) {
    match &settings.database_url {
        Some(url) => match pooler::check(url.as_str()) {
            Ok(()) => examine(url.as_str(), settings, findings),
            Err(unfit) => findings.wrong.push(unfit.to_string()),
        },
        None => private(settings, findings),
    }
}

fn redis(settings: &Settings, findings: &mut Findings) {
    let Some(Redis { server, .. }) = &settings.redis else { return };
    match shared::examine(server) {
        Err(error) => {
            let why = if error.is_timeout() { "the server does not respond".to_owned() } else { error.to_string() };
            findings.wrong.push(format!("limits can't be counted in Redis at {server}: {why}"));
        }
        Ok(shared::Report { version, is_of_a_cluster, eviction }) => {
            let version = version.map(|version| format!(" {version}")).unwrap_or_default();
            findings.fine.push(format!("Redis{version} at {server} counts limits"));
            if is_of_a_cluster {
                findings.wrong.push(format!("Redis at {server} is part of a cluster, which can't count all limits of a call together: use a standalone server"));
            }
            findings.wrong.extend(eviction.map(|policy| {
                format!("Redis at {server} has the maxmemory-policy {policy}, which drops counts too early: set it to noeviction")
            }));
        }
    }
}

fn private(settings: &Settings, findings: &mut Findings) {
    let pg_bin = settings.pg_bin.as_deref();
    match embedded::prospect(&settings.data_dir, pg_bin) {
        Err(trouble) => findings.wrong.push(trouble.to_string()),
        Ok(prospect) if !prospect.is_made => {
            let (version, dir) = (prospect.version, settings.data_dir.display());
            findings.fine.push(format!(
                "{dir} contains no instance yet: the first start creates a private PostgreSQL {version} there"
            ));
        }
        Ok(_) => match Embedded::start(&settings.data_dir, pg_bin) {
            Err(trouble) => findings.wrong.push(trouble.to_string()),
            Ok(embedded) => examine(&embedded.url(), settings, findings),
        },
    }
}

fn examine(url: &str, settings: &Settings, findings: &mut Findings) {
    let looked = migrations::connect(url).and_then(|mut tx| Ok((migrations::examine(&mut tx)?, tx)));
    match looked {
        Err(unfit) => findings.wrong.push(unfit.to_string()),
        Ok((Report { version, pending, is_empty, dangers }, mut tx)) => {
            findings.fine.push(format!("PostgreSQL {version} responds"));
            match instance::compare(&mut tx, &settings.peppers, &settings.vault()) {
                Err(Error::Conflict(says)) => findings.wrong.push(says),
                // Before its first migration the database has no tables to check.
                Err(error) if pending.is_empty() => findings.wrong.push(Failure::from(error).to_string()),
                _ => {}
            }
            findings.fine.push(match pending.as_slice() {
                [] => "all migrations have been run".to_owned(),
                names => format!("the next start runs the migrations {}", names.join(", ")),
            });
            if is_empty {
                let says = "the database has no tables of Gatepost yet: if that is unexpected, check DATABASE_URL";
                findings.fine.push(says.to_owned());
            }
            findings.wrong.extend(dangers);
        }
    }
}

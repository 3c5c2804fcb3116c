//! Where settings come from: flags, then the environment, then `gatepost.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::table::{DATA_DIR, SETTINGS, Setting};

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Flag(String),
    Environment(&'static str),
    File(PathBuf),
    /// Made by Gatepost itself and kept there.
    Generated(PathBuf),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Generated(path) => write!(f, "generated {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A setting that does not fit: its name, and what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {detail}")]
pub struct Refusal {
    pub setting: String,
    pub detail: String,
}

impl Refusal {
    pub fn new(setting: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { setting: setting.into(), detail: detail.into() }
    }
}

/// Says that a data directory is not one, or not the right one.
pub fn no_instance(data_dir: &Path) -> Refusal {
    let detail = "holds no instance of Gatepost: `gatepost doctor` prints where this directory comes from; if it is the right one, run `gatepost migrate`";
    Refusal::new(DATA_DIR.env, format!("{} {detail}", data_dir.display()))
}

/// Says that a generated secret is not there, and that nothing is where it should be.
pub(super) fn lost(setting: &Setting, file: &Path) -> Refusal {
    let data_dir = file.ancestors().nth(2).unwrap_or(file);
    if data_dir.join("postgres").exists() {
        return Refusal::new(setting.env, format!("{} is missing: restore it from your backup", file.display()));
    }
    no_instance(data_dir)
}

/// The variables of the process, read once.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    #[expect(clippy::disallowed_methods, reason = "settings live here")]
    pub fn of_process() -> Self {
        Self(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect())
    }

    /// An empty variable counts as none: that is how compose files leave something out.
    pub fn find(&self, name: &str) -> Option<&OsString> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.find(name).map(PathBuf::from)
    }

    /// Names that begin like settings and are none: most likely misspelled.
    pub fn unknown_names(&self) -> Vec<&str> {
        let is_known = |name: &str| {
            matches!(name, "GATEPOST_CONFIG" | "GATEPOST_TEST_DATABASE_URL") || SETTINGS.iter().any(|it| it.env == name)
        };
        let suspects = self.0.iter().filter(|(name, value)| {
            name.to_uppercase().starts_with("GATEPOST_") && !is_known(name) && !is_service_link(name, value)
        });
        suspects.map(|(name, _)| name.as_str()).collect()
    }
}

/// True for what Kubernetes sets in every container beside a service called `gatepost`.
fn is_service_link(name: &str, value: &OsString) -> bool {
    let is_url = name == "GATEPOST_PORT" && value.to_str().is_some_and(|value| value.contains("://"));
    is_url || name.starts_with("GATEPOST_SERVICE_") || name.starts_with("GATEPOST_PORT_")
}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

/// All values that somebody gave, not yet parsed.
#[derive(Default)]
pub struct Sources {
    pub environment: Environment,
    /// By [`Setting::key`].
    flags: BTreeMap<&'static str, String>,
    file: Option<(PathBuf, toml::Table)>,
    left_out: BTreeSet<&'static str>,
}

impl Sources {
    /// `config` is the file asked for by flag; otherwise `GATEPOST_CONFIG`, otherwise `gatepost.toml` here if there is one.
    pub fn gather(
        flags: BTreeMap<&'static str, String>,
        environment: Environment,
        config: Option<PathBuf>,
    ) -> Result<Self, Refusal> {
        let file = match config.or_else(|| environment.path("GATEPOST_CONFIG")) {
            Some(path) => Some(read(&path)?),
            None if Path::new("gatepost.toml").is_file() => Some(read(Path::new("gatepost.toml"))?),
            None => None,
        };
        Ok(Self { environment, flags, file, left_out: BTreeSet::new() })
    }

    /// Takes a setting as if it had been given by flag.
    pub fn insist(&mut self, setting: &Setting, value: String) {
        self.flags.insert(setting.key, value);
    }

    /// Takes a setting as if nobody had given it.
    pub fn leave_out(&mut self, setting: &Setting) {
        self.left_out.insert(setting.key);
    }

    /// The value of a setting as text, and where it came from.
    pub fn find(&self, setting: &Setting) -> Result<Option<(String, Origin)>, Refusal> {
        if self.left_out.contains(setting.key) {
            return Ok(None);
        }
        if let (Some(value), Some(flag)) = (self.flags.get(setting.key), setting.flag()) {
            return Ok(Some((value.clone(), Origin::Flag(flag))));
        }
        if let Some(value) = self.environment.find(setting.env) {
            let value = value.to_str().ok_or_else(|| Refusal::new(setting.env, "is not valid UTF-8"))?;
            return Ok(Some((value.to_owned(), Origin::Environment(setting.env))));
        }
        let Some((path, table)) = &self.file else { return Ok(None) };
        let Some(value) = table.get(setting.key) else { return Ok(None) };
        let place = || format!("{} in {}", setting.key, path.display());
        let text = text_of(value)
            .ok_or_else(|| Refusal::new(place(), "must be a string, number, boolean or list of strings"))?;
        Ok(Some((text, Origin::File(path.clone()))))
    }
}

fn read(path: &Path) -> Result<(PathBuf, toml::Table), Refusal> {
    let refused = |detail: String| Refusal::new(path.display().to_string(), detail);
    let text = std::fs::read_to_string(path)
        .map_err(|error| refused(format!("the settings file (--config or GATEPOST_CONFIG) can't be read: {error}")))?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| refused(not_toml(&text, &error)))?;
    match table.keys().find(|key| SETTINGS.iter().all(|setting| setting.key != **key)) {
        Some(unknown) => {
            // A line that is no setting may be an address with its password.
            let is_name = unknown.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            let name = if is_name { unknown.as_str() } else { "what one of its lines names" };
            Err(refused(format!("has no setting called {name}")))
        }
        None => Ok((path.to_owned(), table)),
    }
}

/// Names the line of text that is not TOML, and the setting on it. The value on it may be a secret.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let says = one_line(error.message());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return format!("is not valid TOML: {says}");
    };
    let number = before.split('\n').count();
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
    let setting = SETTINGS.iter().find(|setting| setting.key == key);
    let name = setting.map(|setting| format!(" ({})", setting.key)).unwrap_or_default();
    format!("is not valid TOML: line {number}{name}: {says}")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(is) => Some(is.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

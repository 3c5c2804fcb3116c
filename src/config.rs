//! Typed settings from flags, environment, `gatepost.toml` and defaults. Only this module reads the environment.

mod conninfo;
mod parse;
pub mod redis;
pub mod secrets;
pub mod smtp;
pub mod sources;
pub mod table;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::domain::address::AddressPolicy;
use crate::domain::digest::{HashAlgorithm, Pepper, Peppers};
use crate::domain::vault::Vault;
pub use conninfo::DatabaseUrl;
pub use parse::LogFormat;
pub use redis::{Outage, Redis};
pub use secrets::MasterKey;
pub use smtp::Smtp;
pub use sources::{Environment, Origin, Refusal, Sources, no_instance};
use table as t;
pub use table::{SETTINGS, Setting};

/// Longest time limit of a webhook request, from the DNS look-up to the last byte.
pub const MAX_DEADLINE: Duration = Duration::from_secs(60);
/// Time by which a lease outlasts the longest request: for signing, settling and a slow database.
pub const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Days for which data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Single usage records, and usage totals by minute.
    pub usage_days: u32,
    /// Hourly totals of usage and deliveries.
    pub buckets_days: u32,
    /// Events, finished deliveries and their attempts.
    pub deliveries_days: u32,
    /// Audit log entries.
    pub audit_days: u32,
}

/// Setting in force, ready to print. Secrets print as "set".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub setting: Setting,
    pub value: String,
    pub origin: Origin,
}

/// Settings of the process, parsed. [`SETTINGS`] describes each.
#[derive(Debug, Clone)]
pub struct Settings {
    pub database_url: Option<DatabaseUrl>,
    pub data_dir: PathBuf,
    pub pg_bin: Option<PathBuf>,
    pub bind: SocketAddr,
    pub public_url: Url,
    pub cookie_secure: bool,
    pub peppers: Peppers,
    pub master_key: MasterKey,
    /// Retired master keys, which only open secrets.
    pub old_master_keys: Vec<MasterKey>,
    pub key_hash: HashAlgorithm,
    pub allow_query_key: bool,
    pub allow_private_networks: Vec<IpNet>,
    pub allow_http_webhooks: bool,
    pub trusted_proxies: Vec<IpNet>,
    /// `None`: each process counts rate limits alone.
    pub redis: Option<Redis>,
    /// `None`: no mail is sent.
    pub smtp: Option<Smtp>,
    /// Time limit for the head of a request, and again for its body.
    pub request_deadline: Duration,
    /// Time limit of one statement of a usage report or an export.
    pub report_limit: Duration,
    /// Time between SIGTERM and the end of the listener.
    pub drain: Duration,
    pub workers: usize,
    pub deliveries_in_flight: usize,
    pub tenant_in_flight: i64,
    pub lease: Duration,
    pub usage_flush: Duration,
    pub log: String,
    pub log_format: LogFormat,
    pub retention: Retention,
    pub in_force: Vec<InForce>,
}

/// Choice for missing secrets of the private Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make them: for commands that create an instance.
    Make,
    /// Leave them to be made by the first start.
    Leave,
    /// Fail: for commands that need an instance.
    Refuse,
}

impl Settings {
    /// Returns the vault, which seals with the current master key and opens with the retired ones too.
    pub fn vault(&self) -> Vault {
        Vault::with_old(self.master_key.bytes(), self.old_master_keys.iter().map(MasterKey::bytes))
    }

    /// Returns the addresses that webhooks may have.
    pub fn address_policy(&self) -> AddressPolicy {
        AddressPolicy { private_networks: self.allow_private_networks.clone(), allow_http: self.allow_http_webhooks }
    }

    /// Parses all sources, for commands that create an instance if needed. The first invalid setting is the error.
    pub fn load(sources: &Sources) -> Result<Self, Refusal> {
        Self::load_with(sources, Missing::Make)
    }

    /// Parses all sources, for commands that need an instance. Makes no secrets.
    pub fn load_existing(sources: &Sources) -> Result<Self, Refusal> {
        Self::load_with(sources, Missing::Refuse)
    }

    fn load_with(sources: &Sources, missing: Missing) -> Result<Self, Refusal> {
        let unknown = || Refusal::new("settings", "do not fit");
        Self::examine(sources, missing).map_err(|refusals| refusals.into_iter().next().unwrap_or_else(unknown))
    }

    /// Parses all sources and returns every error.
    pub fn examine(sources: &Sources, missing: Missing) -> Result<Self, Vec<Refusal>> {
        let mut reader = Reader { sources, in_force: Vec::new(), refusals: Vec::new() };
        match reader.settings(missing) {
            Some(mut settings) if reader.refusals.is_empty() => {
                reader.in_force.sort_by_key(|one| SETTINGS.iter().position(|setting| *setting == one.setting));
                settings.in_force = reader.in_force;
                Ok(settings)
            }
            _ => Err(reader.refusals),
        }
    }

    /// Returns true if the public URL was set; otherwise it is a guess.
    pub fn has_public_url(&self) -> bool {
        !self.in_force.iter().any(|one| one.setting == t::PUBLIC_URL && one.origin == Origin::Default)
    }
}

/// Reader of one setting after the other, which collects values in force and errors.
struct Reader<'a> {
    sources: &'a Sources,
    in_force: Vec<InForce>,
    refusals: Vec<Refusal>,
}

impl Reader<'_> {
    fn settings(&mut self, missing: Missing) -> Option<Settings> {
        let database_url = self.optional(&t::DATABASE_URL, DatabaseUrl::parse, DatabaseUrl::to_string);
        let data_dir = self.data_dir();
        let pg_bin = self.optional(&t::PG_BIN, parse::path, |path| path.display().to_string());
        let bind = self.or(&t::BIND, parse::address);
        let public_url = self.public_url(bind);
        let cookie_secure = self.cookie_secure(public_url.as_ref());
        let folder = data_dir.as_ref().filter(|_| matches!(database_url, Some(None))).map(|dir| dir.join("secrets"));
        let peppers = self.peppers(missing, folder.as_ref().map(|dir| dir.join("api_key_pepper")));
        let key_file = folder.map(|dir| dir.join("master_key"));
        let master_key = self.kept(&t::MASTER_KEY, missing, key_file, MasterKey::parse, |_| "set".to_owned());
        let keys_old = self.optional(&t::MASTER_KEYS_OLD, secrets::old_master_keys, |_| "set".to_owned());
        let key_hash = self.or(&t::KEY_HASH, parse::key_hash);
        let allow_query_key = self.or(&t::ALLOW_QUERY_KEY, parse::truth);
        let private = self.or_else(&t::ALLOW_PRIVATE_NETWORKS, parse::networks, parse::Networks::default);
        let allow_http_webhooks = self.or(&t::ALLOW_HTTP_WEBHOOKS, parse::truth);
        let proxies = self.or_else(&t::TRUSTED_PROXIES, parse::networks, parse::Networks::default);
        let redis = self.redis();
        let smtp = self.smtp(public_url.as_ref());
        let request_seconds = self.or(&t::REQUEST_SECONDS, |text| parse::number(text, 1, 600));
        let report_seconds = self.or(&t::REPORT_SECONDS, |text| parse::number(text, 1, 600));
        let drain = self.or(&t::DRAIN_SECONDS, |text| parse::number(text, 0, 300));
        let workers = self.or(&t::WORKERS, |text| parse::number(text, 1, 64));
        let in_flight = self.or(&t::DELIVERIES_IN_FLIGHT, |text| parse::number(text, 1, 1000));
        let tenant_in_flight = self.or(&t::TENANT_IN_FLIGHT, |text| parse::number(text, 1, 1000));
        let lease = self.or(&t::LEASE_SECONDS, |text| parse::number(text, least_lease(), 3600));
        let flush = self.or(&t::USAGE_FLUSH_MS, |text| parse::number(text, 10, 10_000));
        let log = self.or(&t::LOG, parse::log);
        let log_format = self.or(&t::LOG_FORMAT, parse::log_format);
        let retention = self.retention();
        Some(Settings {
            database_url: database_url?,
            data_dir: data_dir?,
            pg_bin: pg_bin?,
            bind: bind?,
            public_url: public_url?,
            cookie_secure: cookie_secure?,
            peppers: peppers?,
            master_key: master_key?,
            old_master_keys: keys_old?.unwrap_or_default(),
            key_hash: key_hash?,
            allow_query_key: allow_query_key?,
            allow_private_networks: private?.0,
            allow_http_webhooks: allow_http_webhooks?,
            trusted_proxies: proxies?.0,
            redis: redis?,
            smtp: smtp?,
            request_deadline: Duration::from_secs(request_seconds?),
            report_limit: Duration::from_secs(report_seconds?),
            drain: Duration::from_secs(drain?),
            workers: workers?,
            deliveries_in_flight: in_flight?,
            tenant_in_flight: tenant_in_flight?,
            lease: Duration::from_secs(lease?),
            usage_flush: Duration::from_millis(flush?),
            log: log?,
            log_format: log_format?,
            retention: retention?,
            in_force: Vec::new(),
        })
    }

    fn cookie_secure(&mut self, public_url: Option<&Url>) -> Option<bool> {
        let is_https = public_url.is_some_and(|url| url.scheme() == "https");
        self.or_else(&t::COOKIE_SECURE, parse::truth, || is_https)
    }

    fn peppers(&mut self, missing: Missing, file: Option<PathBuf>) -> Option<Peppers> {
        // Printed because API_KEY_PEPPERS_OLD needs the name once this pepper is retired.
        let named = |pepper: &Pepper| format!("set, named {}", pepper.id);
        let current = self.kept(&t::PEPPER, missing, file, secrets::pepper, named);
        let old = self.optional(&t::PEPPERS_OLD, secrets::old_peppers, |_| "set".to_owned());
        Some(Peppers { current: current?, old: old?.unwrap_or_default() })
    }

    fn redis(&mut self) -> Option<Option<Redis>> {
        let server = self.optional(&t::REDIS_URL, redis::server, |server| format!("set, {server}"));
        let outage = self.or(&t::REDIS_OUTAGE, redis::outage);
        let timeout = self.or(&t::REDIS_TIMEOUT_MS, |text| parse::number(text, 10, 10_000));
        let (server, outage, timeout) = (server?, outage?, Duration::from_millis(timeout?));
        Some(server.map(|server| Redis { server, outage, timeout }))
    }

    fn smtp(&mut self, public_url: Option<&Url>) -> Option<Option<Smtp>> {
        let server = self.optional(&t::SMTP_URL, smtp::server, |_| "set".to_owned());
        let usual =
            public_url.and_then(Url::domain).filter(|host| host.contains('.')).map(|host| format!("gatepost@{host}"));
        let usual =
            usual.filter(|usual| smtp::sender(usual).is_ok()).unwrap_or_else(|| "gatepost@gatepost.invalid".to_owned());
        let (text, origin) = self.find(&t::SMTP_FROM)?.unwrap_or((usual, Origin::Default));
        let from = smtp::sender(&text).map_err(|detail| self.refuse(&t::SMTP_FROM, &origin, detail)).ok()?;
        self.note(&t::SMTP_FROM, &from, origin);
        Some(server?.map(|server| Smtp::new(server, from)))
    }

    fn retention(&mut self) -> Option<Retention> {
        let mut days = |setting| self.or(setting, |text| parse::number(text, 1, 36_500));
        let (usage, buckets) = (days(&t::RETENTION_USAGE), days(&t::RETENTION_BUCKETS));
        let (deliveries, audit) = (days(&t::RETENTION_DELIVERIES), days(&t::RETENTION_AUDIT));
        Some(Retention { usage_days: usage?, buckets_days: buckets?, deliveries_days: deliveries?, audit_days: audit? })
    }

    fn find(&mut self, setting: &Setting) -> Option<Option<(String, Origin)>> {
        self.sources.find(setting).map_err(|refusal| self.refusals.push(refusal)).ok()
    }

    fn refuse(&mut self, setting: &Setting, origin: &Origin, detail: String) {
        let name = match origin {
            Origin::Flag(flag) => format!("--{flag}"),
            Origin::File(path) => format!("{} in {}", setting.key, path.display()),
            Origin::Environment(_) | Origin::Generated(_) | Origin::Default => setting.env.to_owned(),
        };
        self.refusals.push(Refusal::new(name, detail));
    }

    fn note(&mut self, setting: &Setting, value: impl Display, origin: Origin) {
        self.in_force.push(InForce { setting: *setting, value: value.to_string(), origin });
    }

    /// Reads a setting that may be absent.
    fn optional<T>(
        &mut self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<Option<T>> {
        let Some((text, origin)) = self.find(setting)? else {
            self.note(setting, setting.default, Origin::Default);
            return Some(None);
        };
        let parsed = parse(&text).map_err(|detail| self.refuse(setting, &origin, detail)).ok()?;
        self.note(setting, show(&parsed), origin);
        Some(Some(parsed))
    }

    /// Reads a setting with a computed default.
    fn or_else<T: Display>(
        &mut self,
        setting: &Setting,
        parse: impl Fn(&str) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Option<T> {
        let (value, origin) = match self.find(setting)? {
            Some((text, origin)) => {
                let parsed = parse(&text);
                (parsed.map_err(|detail| self.refuse(setting, &origin, detail)).ok()?, origin)
            }
            None => (default(), Origin::Default),
        };
        self.note(setting, &value, origin);
        Some(value)
    }

    /// Reads a setting whose default is in the table.
    fn or<T: Display>(&mut self, setting: &Setting, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (text, origin) = self.find(setting)?.unwrap_or_else(|| (setting.default.to_owned(), Origin::Default));
        let value = parse(&text).map_err(|detail| self.refuse(setting, &origin, detail)).ok()?;
        self.note(setting, &value, origin);
        Some(value)
    }

    fn data_dir(&mut self) -> Option<PathBuf> {
        let found = self.find(&t::DATA_DIR)?.map(|(text, origin)| (PathBuf::from(text), origin));
        let default = || Some((parse::default_data_dir(&self.sources.environment)?, Origin::Default));
        let Some((path, origin)) = found.or_else(default) else {
            self.refuse(&t::DATA_DIR, &Origin::Default, "is needed, since HOME is not set".to_owned());
            return None;
        };
        // Child processes run in other directories, so the path must be absolute.
        let path = std::path::absolute(&path).unwrap_or(path);
        self.note(&t::DATA_DIR, path.display(), origin);
        Some(path)
    }

    fn public_url(&mut self, bind: Option<SocketAddr>) -> Option<Url> {
        let default = bind.and_then(parse::url_of);
        match (self.find(&t::PUBLIC_URL)?, default) {
            (None, default) => {
                self.note(&t::PUBLIC_URL, default.as_ref()?, Origin::Default);
                default
            }
            (Some((text, origin)), _) => {
                let url =
                    parse::public_url(&text).map_err(|detail| self.refuse(&t::PUBLIC_URL, &origin, detail)).ok()?;
                self.note(&t::PUBLIC_URL, &url, origin);
                Some(url)
            }
        }
    }

    /// Reads a secret from the settings, or from its file in the data directory of the private Postgres.
    fn kept<T>(
        &mut self,
        setting: &Setting,
        missing: Missing,
        file: Option<PathBuf>,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if let Some((text, origin)) = self.find(setting)? {
            let parsed = parse(&text).map_err(|detail| self.refuse(setting, &origin, detail)).ok()?;
            self.note(setting, show(&parsed), origin);
            return Some(parsed);
        }
        let Some(file) = file else {
            let detail =
                "is required where DATABASE_URL is set: use the output of `openssl rand -base64 32`, and keep it safe";
            self.refuse(setting, &Origin::Default, detail.to_owned());
            return None;
        };
        let read = match missing {
            Missing::Make => secrets::read_or_make(&file).map(Some),
            Missing::Leave | Missing::Refuse => secrets::read(&file),
        };
        let text = read.map_err(|detail| self.refuse(setting, &Origin::Default, detail)).ok()?;
        let Some(text) = text else {
            if missing == Missing::Refuse {
                self.refusals.push(sources::lost(setting, &file));
                return None;
            }
            // `doctor` may run before the first start. Any secret lets it check the rest.
            self.note(setting, "not made yet: the first start makes it", Origin::Default);
            return secrets::fresh().ok().and_then(|text| parse(&text).ok());
        };
        let origin = Origin::Generated(file);
        let parsed = parse(&text).map_err(|detail| self.refuse(setting, &origin, detail)).ok()?;
        self.note(setting, show(&parsed), origin);
        Some(parsed)
    }
}

fn least_lease() -> u64 {
    (MAX_DEADLINE + LEASE_MARGIN).as_secs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const PEPPER: &str = "V8mYx2vQe0cT5oJrL1sZ7bNwKf4hGa9dUiRpXtEy3Wk";
    const MASTER: &str = "mZ0o4l5T1u7qf3uHkz0cDJr2nKpV8yYgWbQxS6tEaLU=";

    fn sources<const N: usize>(flags: &[(&'static str, &str)], env: [(&str, &str); N]) -> Sources {
        let flags: BTreeMap<_, _> = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Sources::gather(flags, Environment::from_iter(env), None).unwrap()
    }

    fn external(more: &[(&'static str, &str)]) -> Sources {
        let base = [("DATABASE_URL", "postgres://db/x"), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER)];
        sources(more, base)
    }

    #[test]
    fn defaults_apply_where_nothing_is_set() {
        let settings = Settings::load(&external(&[])).unwrap();
        assert_eq!(settings.bind.to_string(), "127.0.0.1:8000");
        assert_eq!(settings.public_url.as_str(), "http://127.0.0.1:8000/");
        assert!(!settings.cookie_secure && !settings.allow_query_key && !settings.allow_http_webhooks);
        assert_eq!(settings.in_force.len(), SETTINGS.len());
    }

    #[test]
    fn a_flag_beats_the_environment_and_its_origin_is_remembered() {
        let env = [
            ("DATABASE_URL", "postgres://db/x"),
            ("API_KEY_PEPPER", PEPPER),
            ("GATEPOST_MASTER_KEY", MASTER),
            ("GATEPOST_BIND", "127.0.0.1:9000"),
            ("GATEPOST_WORKERS", "4"),
        ];
        let settings = Settings::load(&sources(&[("bind", "127.0.0.1:9100")], env)).unwrap();
        let origin = |name| settings.in_force.iter().find(|it| it.setting.env == name).unwrap().origin.to_string();
        assert_eq!((settings.bind.port(), settings.workers), (9100, 4));
        assert_eq!(origin("GATEPOST_BIND"), "flag --bind");
        assert_eq!(origin("GATEPOST_WORKERS"), "environment GATEPOST_WORKERS");
        assert_eq!(origin("GATEPOST_LOG"), "default");
    }

    #[test]
    fn the_file_is_read_and_its_unknown_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatepost.toml");
        let gather = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let env = [
                ("DATABASE_URL", "postgres://db/x"),
                ("API_KEY_PEPPER", PEPPER),
                ("GATEPOST_MASTER_KEY", MASTER),
                ("GATEPOST_WORKERS", "3"),
            ];
            Sources::gather(BTreeMap::new(), Environment::from_iter(env), Some(path.clone()))
        };
        let text = "bind = \"127.0.0.1:7000\"\nworkers = 9\nallow_private_networks = [\"10.0.0.0/8\", \"::1\"]";
        let settings = Settings::load(&gather(text).unwrap()).unwrap();
        assert_eq!((settings.bind.port(), settings.workers, settings.allow_private_networks.len()), (7000, 3, 2));
        assert!(gather("binds = 1").err().unwrap().to_string().contains("no setting called binds"));
        let refusal = Settings::load(&gather("bind = \"here\"").unwrap()).unwrap_err().to_string();
        assert!(refusal.starts_with("bind in ") && refusal.contains("127.0.0.1:8000"), "{refusal}");
    }

    #[test]
    fn an_external_database_requires_given_secrets() {
        let refusals =
            Settings::examine(&sources(&[], [("DATABASE_URL", "postgres://db/x")]), Missing::Leave).unwrap_err();
        let names: Vec<_> = refusals.iter().map(|refusal| refusal.setting.as_str()).collect();
        assert_eq!(names, ["API_KEY_PEPPER", "GATEPOST_MASTER_KEY"]);
        assert!(refusals[0].to_string().contains("openssl rand"));
    }

    #[test]
    fn the_embedded_default_makes_its_secrets_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("data").display().to_string();
        let sources = sources(&[("data_dir", &dir)], []);
        assert!(Settings::examine(&sources, Missing::Leave).is_ok() && !folder.path().join("data").exists());
        let first = Settings::load(&sources).unwrap();
        let second = Settings::load(&sources).unwrap();
        assert_eq!(first.peppers.current.id, second.peppers.current.id);
        assert_eq!(first.master_key.bytes(), second.master_key.bytes());
        assert!(first.in_force.iter().any(|it| matches!(it.origin, Origin::Generated(_)) && it.value == "set"));
    }

    #[test]
    fn an_invalid_value_names_its_setting() {
        let bad = [
            ("workers", "0", "--workers: must be a number from 1 to 64"),
            ("lease_seconds", "60", "--lease-seconds: must be a number from 75 to 3600"),
            ("key_hash", "md5", "--key-hash: must be one of hmac-sha256, argon2id"),
            ("allow_query_key", "maybe", "--allow-query-key: must be true or false"),
            (
                "log",
                "warning",
                "--log: \"warning\" has no known level: write one of trace, debug, info, warn, error, off",
            ),
        ];
        for (key, value, complaint) in bad {
            let refusal = Settings::load(&external(&[(key, value)])).unwrap_err().to_string();
            assert!(refusal.starts_with(complaint), "{refusal}");
        }
    }

    #[test]
    fn an_https_public_url_makes_cookies_secure() {
        assert!(Settings::load(&external(&[("public_url", "https://keys.example.com")])).unwrap().cookie_secure);
    }

    #[test]
    fn no_secret_is_printed() {
        let url = "postgres://u:hunter2@/db?host=/sock";
        let printed = format!("{:?}", Settings::load(&external(&[("database_url", url)])).unwrap());
        assert!(!printed.contains(PEPPER) && !printed.contains(MASTER) && !printed.contains("hunter2"), "{printed}");
    }
}

//! Every setting by name, once: flags, environment, `gatepost.toml`, `doctor` and README's table all come from here.

/// One setting, as people meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the environment.
    pub env: &'static str,
    /// Its name in `gatepost.toml`; with dashes, its flag.
    pub key: &'static str,
    /// What holds where nobody sets it, in words or as the value itself.
    pub default: &'static str,
    pub help: &'static str,
    /// Never printed, and no flag: command lines are seen by every user of the machine.
    pub is_secret: bool,
}

const fn open(env: &'static str, key: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { env, key, default, help, is_secret: false }
}

const fn secret(env: &'static str, key: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { env, key, default, help, is_secret: true }
}

pub const DATABASE_URL: Setting = open(
    "DATABASE_URL",
    "database_url",
    "a private Postgres",
    "Postgres 14 or newer; without it Gatepost keeps one of its own",
);
pub const DATA_DIR: Setting = open(
    "GATEPOST_DATA_DIR",
    "data_dir",
    "/var/lib/gatepost, or below a user's home",
    "where the private Postgres and the generated secrets live",
);
pub const PG_BIN: Setting =
    open("GATEPOST_PG_BIN", "pg_bin", "searched", "directory of initdb, pg_ctl and postgres for the private Postgres");
pub const BIND: Setting = open("GATEPOST_BIND", "bind", "127.0.0.1:8000", "address and port to listen on");
pub const PUBLIC_URL: Setting = open(
    "GATEPOST_PUBLIC_URL",
    "public_url",
    "http:// and the bind address",
    "how browsers and programs reach this instance",
);
pub const COOKIE_SECURE: Setting = open(
    "GATEPOST_COOKIE_SECURE",
    "cookie_secure",
    "whether the public URL is https",
    "mark cookies Secure and name them __Host-…",
);
pub const PEPPER: Setting = secret(
    "API_KEY_PEPPER",
    "api_key_pepper",
    "made on first start of the private Postgres",
    "at least 32 random bytes, mixed into every digest of a key or token",
);
pub const PEPPERS_OLD: Setting =
    secret("API_KEY_PEPPERS_OLD", "api_key_peppers_old", "none", "retired peppers: id:base64, separated by commas");
pub const MASTER_KEY: Setting = secret(
    "GATEPOST_MASTER_KEY",
    "master_key",
    "made on first start of the private Postgres",
    "base64 of 32 random bytes; seals signing secrets and second factors",
);
pub const MASTER_KEYS_OLD: Setting = secret(
    "GATEPOST_MASTER_KEYS_OLD",
    "master_keys_old",
    "none",
    "other master keys that still open what they sealed: base64, separated by commas",
);
pub const KEY_HASH: Setting =
    open("GATEPOST_KEY_HASH", "key_hash", "hmac-sha256", "how secrets of API keys are kept: hmac-sha256 or argon2id");
pub const ALLOW_QUERY_KEY: Setting = open(
    "GATEPOST_ALLOW_QUERY_KEY",
    "allow_query_key",
    "false",
    "accept ?api_key=… as well (it ends up in other people's logs)",
);
pub const ALLOW_PRIVATE_NETWORKS: Setting = open(
    "GATEPOST_ALLOW_PRIVATE_NETWORKS",
    "allow_private_networks",
    "none",
    "private networks that webhooks may reach: CIDRs, separated by commas",
);
pub const ALLOW_HTTP_WEBHOOKS: Setting =
    open("GATEPOST_ALLOW_HTTP_WEBHOOKS", "allow_http_webhooks", "false", "accept webhooks with http:// URLs");
pub const TRUSTED_PROXIES: Setting = open(
    "GATEPOST_TRUSTED_PROXIES",
    "trusted_proxies",
    "none",
    "proxies whose X-Forwarded-… and X-Gatepost-Require-… are believed: CIDRs, separated by commas",
);
pub const REDIS_URL: Setting = secret(
    "REDIS_URL",
    "redis_url",
    "none: each process counts for itself",
    "Redis or Valkey in which all processes count rate limits together: redis://user:password@host:6379/0, or rediss:// for TLS",
);
pub const REDIS_OUTAGE: Setting = open(
    "GATEPOST_REDIS_OUTAGE",
    "redis_outage",
    "fail_open",
    "while that is away: fail_open lets each process count for itself, fail_closed answers calls with keys with 503",
);
pub const REDIS_TIMEOUT_MS: Setting = open(
    "GATEPOST_REDIS_TIMEOUT_MS",
    "redis_timeout_ms",
    "250",
    "how long a call waits for its answer before it counts as away: 10 to 10000 milliseconds",
);
pub const SMTP_URL: Setting = secret(
    "GATEPOST_SMTP_URL",
    "smtp_url",
    "none: no mail is sent",
    "mail server for invitations and reset links: smtps://user:password@host, or smtp://user:password@host?tls=required",
);
pub const SMTP_FROM: Setting = open(
    "GATEPOST_SMTP_FROM",
    "smtp_from",
    "gatepost@ and the public URL's host",
    "who mail is from: Gatepost <gatepost@example.com>",
);
pub const REQUEST_SECONDS: Setting = open(
    "GATEPOST_REQUEST_SECONDS",
    "request_seconds",
    "30",
    "time that a client has for the head of a request, and again for its body: 1 to 600",
);
pub const REPORT_SECONDS: Setting = open(
    "GATEPOST_REPORT_SECONDS",
    "report_seconds",
    "30",
    "time limit of a database query for a usage report or an export: 1 to 600",
);
pub const DRAIN_SECONDS: Setting = open(
    "GATEPOST_DRAIN_SECONDS",
    "drain_seconds",
    "5",
    "after SIGTERM, time to go on serving while /readyz answers 503, so that balancers send requests elsewhere: 0 to 300",
);
pub const WORKERS: Setting = open("GATEPOST_WORKERS", "workers", "2", "threads that serve HTTP, 1 to 64");
pub const DELIVERIES_IN_FLIGHT: Setting = open(
    "GATEPOST_DELIVERIES_IN_FLIGHT",
    "deliveries_in_flight",
    "256",
    "webhook requests that one process has under way at a time, 1 to 1000",
);
pub const TENANT_IN_FLIGHT: Setting = open(
    "GATEPOST_TENANT_IN_FLIGHT",
    "tenant_in_flight",
    "192",
    "webhook requests that one tenant has under way at a time, in all processes together, 1 to 1000",
);
pub const LEASE_SECONDS: Setting = open(
    "GATEPOST_LEASE_SECONDS",
    "lease_seconds",
    "90",
    "how long a delivery belongs to the process that sends it, 75 to 3600: the longest deadline and a margin",
);
pub const USAGE_FLUSH_MS: Setting =
    open("GATEPOST_USAGE_FLUSH_MS", "usage_flush_ms", "250", "how often usage is written, 10 to 10000 milliseconds");
pub const LOG: Setting = open(
    "GATEPOST_LOG",
    "log",
    "info",
    "what is logged: trace, debug, info, warn, error, off, or directives such as info,gatepost::workers=debug",
);
pub const LOG_FORMAT: Setting = open("GATEPOST_LOG_FORMAT", "log_format", "text", "text or json");
pub const RETENTION_USAGE: Setting = open(
    "GATEPOST_RETENTION_USAGE_DAYS",
    "retention_usage_days",
    "30",
    "days to keep single usage records, and usage added up by the minute",
);
pub const RETENTION_BUCKETS: Setting = open(
    "GATEPOST_RETENTION_BUCKETS_DAYS",
    "retention_buckets_days",
    "400",
    "days to keep usage and deliveries added up by the hour",
);
pub const RETENTION_DELIVERIES: Setting = open(
    "GATEPOST_RETENTION_DELIVERIES_DAYS",
    "retention_deliveries_days",
    "30",
    "days to keep events, finished deliveries and their attempts",
);
pub const RETENTION_AUDIT: Setting =
    open("GATEPOST_RETENTION_AUDIT_DAYS", "retention_audit_days", "400", "days to keep the audit log");

/// In the order in which they are printed.
pub const SETTINGS: &[Setting] = &[
    DATABASE_URL,
    DATA_DIR,
    PG_BIN,
    BIND,
    PUBLIC_URL,
    COOKIE_SECURE,
    PEPPER,
    PEPPERS_OLD,
    MASTER_KEY,
    MASTER_KEYS_OLD,
    KEY_HASH,
    ALLOW_QUERY_KEY,
    ALLOW_PRIVATE_NETWORKS,
    ALLOW_HTTP_WEBHOOKS,
    TRUSTED_PROXIES,
    REDIS_URL,
    REDIS_OUTAGE,
    REDIS_TIMEOUT_MS,
    SMTP_URL,
    SMTP_FROM,
    REQUEST_SECONDS,
    REPORT_SECONDS,
    DRAIN_SECONDS,
    WORKERS,
    DELIVERIES_IN_FLIGHT,
    TENANT_IN_FLIGHT,
    LEASE_SECONDS,
    USAGE_FLUSH_MS,
    LOG,
    LOG_FORMAT,
    RETENTION_USAGE,
    RETENTION_BUCKETS,
    RETENTION_DELIVERIES,
    RETENTION_AUDIT,
];

impl Setting {
    /// Its flag without the dashes in front; secrets have none.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret).then(|| self.key.replace('_', "-"))
    }
}

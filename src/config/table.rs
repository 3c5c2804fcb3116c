//! Table of all settings. Flags, environment, `gatepost.toml`, `doctor` and the README use it.

/// Description of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Name of its environment variable.
    pub env: &'static str,
    /// Name in `gatepost.toml`. With dashes, the name of its flag.
    pub key: &'static str,
    /// Default value, or a description of it.
    pub default: &'static str,
    /// Help text: meaning, unit and range.
    pub help: &'static str,
    /// True if the value is never printed and has no flag: all users of the machine can see command lines.
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
    "Postgres 14 or newer; without it Gatepost runs a private one",
);
pub const DATA_DIR: Setting = open(
    "GATEPOST_DATA_DIR",
    "data_dir",
    "/var/lib/gatepost, or below a user's home",
    "directory of the private Postgres and the generated secrets",
);
pub const PG_BIN: Setting =
    open("GATEPOST_PG_BIN", "pg_bin", "searched", "directory of initdb, pg_ctl and postgres for the private Postgres");
pub const BIND: Setting = open("GATEPOST_BIND", "bind", "127.0.0.1:8000", "address and port to listen on");
pub const PUBLIC_URL: Setting = open(
    "GATEPOST_PUBLIC_URL",
    "public_url",
    "http:// and the bind address",
    "URL of this instance for browsers and programs",
);
pub const COOKIE_SECURE: Setting = open(
    "GATEPOST_COOKIE_SECURE",
    "cookie_secure",
    "true if the public URL is https",
    "mark cookies Secure and prefix their names with __Host-",
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
    "retired master keys, which only open secrets: base64, separated by commas",
);
pub const KEY_HASH: Setting =
    open("GATEPOST_KEY_HASH", "key_hash", "hmac-sha256", "digest of stored API key secrets: hmac-sha256 or argon2id");
pub const ALLOW_QUERY_KEY: Setting = open(
    "GATEPOST_ALLOW_QUERY_KEY",
    "allow_query_key",
    "false",
    "accept API keys in the URL as ?api_key=… (other servers log URLs)",
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
    "proxies whose X-Forwarded-… and X-Gatepost-Require-… headers are trusted: CIDRs, separated by commas",
);
pub const REDIS_URL: Setting = secret(
    "REDIS_URL",
    "redis_url",
    "none: each process counts alone",
    "Redis or Valkey where all replicas count rate limits together: redis://user:password@host:6379/0, or rediss:// for TLS",
);
pub const REDIS_OUTAGE: Setting = open(
    "GATEPOST_REDIS_OUTAGE",
    "redis_outage",
    "fail_open",
    "while Redis is unreachable: fail_open lets each process count alone, fail_closed refuses calls with API keys with 503",
);
pub const REDIS_TIMEOUT_MS: Setting = open(
    "GATEPOST_REDIS_TIMEOUT_MS",
    "redis_timeout_ms",
    "250",
    "milliseconds that a call waits for Redis before it counts as unreachable: 10 to 10000",
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
    "sender of mails, as in Gatepost <gatepost@example.com>",
);
pub const REQUEST_SECONDS: Setting = open(
    "GATEPOST_REQUEST_SECONDS",
    "request_seconds",
    "30",
    "seconds for a client to send the head of a request, and again for its body: 1 to 600",
);
pub const REPORT_SECONDS: Setting = open(
    "GATEPOST_REPORT_SECONDS",
    "report_seconds",
    "30",
    "time limit in seconds of a database query for a usage report or an export: 1 to 600",
);
pub const DRAIN_SECONDS: Setting = open(
    "GATEPOST_DRAIN_SECONDS",
    "drain_seconds",
    "5",
    "seconds to keep serving after SIGTERM while /readyz returns 503, so that load balancers send requests elsewhere: 0 to 300",
);
pub const WORKERS: Setting = open("GATEPOST_WORKERS", "workers", "2", "threads that serve HTTP, 1 to 64");
pub const DELIVERIES_IN_FLIGHT: Setting = open(
    "GATEPOST_DELIVERIES_IN_FLIGHT",
    "deliveries_in_flight",
    "256",
    "most webhook requests of one process under way at once, 1 to 1000",
);
pub const TENANT_IN_FLIGHT: Setting = open(
    "GATEPOST_TENANT_IN_FLIGHT",
    "tenant_in_flight",
    "192",
    "most webhook requests of one tenant under way at once, over all replicas, 1 to 1000",
);
pub const LEASE_SECONDS: Setting = open(
    "GATEPOST_LEASE_SECONDS",
    "lease_seconds",
    "90",
    "seconds that a delivery belongs to the process that sends it, 75 to 3600: at least the longest time limit and a margin",
);
pub const USAGE_FLUSH_MS: Setting =
    open("GATEPOST_USAGE_FLUSH_MS", "usage_flush_ms", "250", "milliseconds between writes of usage, 10 to 10000");
pub const LOG: Setting = open(
    "GATEPOST_LOG",
    "log",
    "info",
    "log level: trace, debug, info, warn, error, off, or directives such as info,gatepost::workers=debug",
);
pub const LOG_FORMAT: Setting = open("GATEPOST_LOG_FORMAT", "log_format", "text", "format of log lines: text or json");
pub const RETENTION_USAGE: Setting = open(
    "GATEPOST_RETENTION_USAGE_DAYS",
    "retention_usage_days",
    "30",
    "days to keep single usage records, and usage totals by minute",
);
pub const RETENTION_BUCKETS: Setting = open(
    "GATEPOST_RETENTION_BUCKETS_DAYS",
    "retention_buckets_days",
    "400",
    "days to keep hourly totals of usage and deliveries",
);
pub const RETENTION_DELIVERIES: Setting = open(
    "GATEPOST_RETENTION_DELIVERIES_DAYS",
    "retention_deliveries_days",
    "30",
    "days to keep events, finished deliveries and their attempts",
);
pub const RETENTION_AUDIT: Setting =
    open("GATEPOST_RETENTION_AUDIT_DAYS", "retention_audit_days", "400", "days to keep the audit log");

/// All settings, in the order in which they are printed.
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
    /// Returns the flag's name without leading dashes. Secrets have none.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret).then(|| self.key.replace('_', "-"))
    }
}

//! Settings of a test server: a free port, receivers on loopback allowed, frequent flushes.

use std::collections::BTreeMap;

use gatepost::config::{Environment, Settings, Sources};

/// Random and public, so only for tests.
pub const PEPPER: &str = "q8Zr1vW0xJ5mT7nB3kD9hF2sL6pC4yGaXuEiOoRtYw";
pub const MASTER_KEY: &str = "3q2+796tvu8BI0VniavN7wAREiNEVVZnd4iZqrvM3e8=";

pub fn for_test(database_url: &str, extra: &[(&str, &str)]) -> Settings {
    let usual = [
        ("DATABASE_URL", database_url),
        ("API_KEY_PEPPER", PEPPER),
        ("GATEPOST_MASTER_KEY", MASTER_KEY),
        ("GATEPOST_BIND", "127.0.0.1:0"),
        ("GATEPOST_PUBLIC_URL", "http://127.0.0.1:8000"),
        ("GATEPOST_DATA_DIR", "/nonexistent"),
        ("GATEPOST_WORKERS", "1"),
        ("GATEPOST_DRAIN_SECONDS", "0"),
        ("GATEPOST_ALLOW_PRIVATE_NETWORKS", "127.0.0.0/8,::1/128"),
        ("GATEPOST_ALLOW_HTTP_WEBHOOKS", "true"),
        ("GATEPOST_USAGE_FLUSH_MS", "20"),
        // On a busy machine, a healthy Redis still responds within this time.
        ("GATEPOST_REDIS_TIMEOUT_MS", "10000"),
    ];
    // Later pairs override earlier ones.
    let environment: Environment = usual.into_iter().chain(extra.iter().copied()).collect();
    // Read no settings file, so that a developer's own file has no effect.
    let sources =
        Sources::gather(BTreeMap::new(), environment, Some("/dev/null".into())).expect("sources can be gathered");
    Settings::load(&sources).expect("the test's settings fit")
}

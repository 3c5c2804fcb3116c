//! Records the SQL statements that a test causes.

use std::sync::Mutex;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};

static STATEMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Recorder;

impl Instrumentation for Recorder {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        // The readiness check runs about once a second, independent of requests.
        let is_background = std::thread::current().name() == Some("readiness");
        if let InstrumentationEvent::StartQuery { query, .. } = event
            && !is_background
        {
            STATEMENTS.lock().unwrap().push(query.to_string());
        }
    }
}

/// Records the statements of all connections that this process opens from now on, except those of the readiness check.
pub fn record() {
    set_default_instrumentation(|| Some(Box::new(Recorder))).unwrap();
}

/// Returns the recorded statements that use keys, tokens, users, tenants or usage, except those of the delivery
/// workers.
pub fn so_far() -> Vec<String> {
    let ours = ["api_keys", "access_tokens", "users", "tenants", "memberships", "usage_"];
    let all = STATEMENTS.lock().unwrap();
    let is_ours = |sql: &&String| ours.iter().any(|table| sql.contains(table)) && !sql.contains("deliveries");
    all.iter().filter(is_ours).cloned().collect()
}

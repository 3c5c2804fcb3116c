//! Databases in various setups: versions, users with few rights, restored dumps, poolers.

mod pooler;
mod restore;
mod roles;
mod versions;

use std::time::Duration;

use crate::boot::{Gatepost, Ran};
use crate::support::database::Database;

/// Returns the SQL statements that an error message tells an administrator to run.
#[track_caller]
fn advised_sql(refused: &Ran) -> &str {
    let quoted = refused.stderr.split('`').skip(1).step_by(2);
    quoted.filter(|words| words.contains("gatepost_app")).last().unwrap_or_else(|| panic!("no SQL in {refused:?}"))
}

/// Waits until the condition holds, without sending a request.
async fn soon(mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server does not repair its database");
}

/// Returns what `gatepost doctor` complains about, without the settings that make the test cluster fast.
fn wrong(database: &Database) -> String {
    let report = Gatepost::on(database).run(&["doctor", "--json"]).json();
    let lines = report["wrong"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
    lines.filter(|line| !line.contains(" is off: a crash")).collect::<Vec<_>>().join("\n")
}

//! `gatepost serve`, from its first line of output to its end.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::command::Gatepost;
use crate::support::Person;
use crate::support::database::Database;
use crate::support::people::PASSWORD;

pub const SERVE: [&str; 3] = ["serve", "--bind", "127.0.0.1:0"];

/// Started server, with its output up to the moment when it listens.
pub struct Served {
    pub child: Child,
    pub base: String,
    pub printed: String,
}

impl Served {
    pub fn start(gatepost: &Gatepost) -> Self {
        Self::listening(gatepost.start(&SERVE))
    }

    pub fn listening(mut child: Child) -> Self {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = String::new();
        // The last line of the greeting contains the setup link or the address of the sign-in page.
        while !printed.contains("/setup?token=") && !printed.contains("Open ") {
            let line = lines.next().unwrap_or_else(|| panic!("it ended after {printed}")).unwrap();
            printed.push_str(&line);
            printed.push('\n');
        }
        let base = printed.split("listens on ").nth(1).unwrap().lines().next().unwrap().to_owned();
        Self { child, base, printed }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Sends SIGTERM, and returns the exit code.
    pub fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }
}

/// Kills the server if the test fails.
impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn status(url: &str) -> u16 {
    Person::stranger(url).get("").await.status
}

pub fn data_dir() -> (tempfile::TempDir, PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("data");
    (folder, data_dir)
}

fn is_running(data_dir: &Path) -> bool {
    data_dir.join("postgres/postmaster.pid").exists()
}

#[actix_web::test]
async fn a_first_start_offers_the_setup_link_and_a_signal_ends_it() {
    let database = Database::clone_template();
    let served = Served::start(&Gatepost::on(&database));
    assert!(served.printed.contains("at DATABASE_URL"), "{}", served.printed);
    let link = served.printed.lines().last().unwrap().trim().to_owned();
    assert!(link.starts_with(&format!("{}/setup?token=", served.base)), "{link}");
    assert_eq!(status(&link).await, 200);
    assert_eq!(status(&format!("{}/healthz", served.base)).await, 200);
    assert_eq!(status(&format!("{}/readyz", served.base)).await, 200);
    assert_eq!(served.stop(), 0);
}

#[actix_web::test]
async fn a_private_postgres_starts_and_stops_with_the_server_and_survives_a_kill() {
    let (_folder, data_dir) = data_dir();
    let gatepost = Gatepost::in_dir(&data_dir);
    let first = Served::start(&gatepost);
    assert!(
        first.printed.contains("private PostgreSQL") && first.printed.contains("DATABASE_URL"),
        "{}",
        first.printed
    );
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    first.kill();
    assert!(is_running(&data_dir), "a kill leaves the database to the next start");

    let begun = Instant::now();
    let second = Served::start(&gatepost);
    assert!(begun.elapsed() < Duration::from_secs(60));
    gatepost.run(&["tenants", "create", "--name", "Acme", "--slug", "acme"]).assert_failed(1, &["slug"]);
    assert!(is_running(&data_dir), "a command leaves a database that is in use alone");
    assert_eq!(status(&format!("{}/readyz", second.base)).await, 200);
    assert_eq!(second.stop(), 0);
    assert!(!is_running(&data_dir), "the last user has stopped it");
}

#[actix_web::test]
async fn a_secret_used_in_a_lookup_is_not_logged() {
    let (database, folder) = (Database::clone_template(), tempfile::tempdir().unwrap());
    let gatepost = Gatepost::on(&database);
    gatepost.run(&["tenants", "create", "--name", "Acme"]).ok();
    let user = ["users", "create", "--email", "ada@example.com", "--operator", "--password-stdin"];
    gatepost.run_with(&user, PASSWORD).ok();
    gatepost.run(&["members", "add", "--user", "ada@example.com", "--tenant", "acme", "--role", "owner"]).ok();
    let token = ["tokens", "create", "--user", "ada@example.com", "--tenant", "acme", "--name", "ci", "--scopes", "*"];
    let token = gatepost.run(&token).ok().line().to_owned();
    let secret = |name| gatepost.run(&["keys", "create", "--tenant", "acme", "--name", name]).ok().line().to_owned();
    let (secret, deleted) = (secret("one"), secret("two"));
    gatepost.run(&["keys", "delete", "2"]).ok();
    let log = folder.path().join("log");
    let served = Served::listening(gatepost.start_logging(&SERVE, std::fs::File::create(&log).unwrap()));

    let program = Person::with_token(&served.base, &token);
    let browser = Person::stranger(&served.base);
    let signed_in = browser.submit("/sign-in", &[("email", "ada@example.com"), ("password", PASSWORD)]).await;
    signed_in.assert_see_other("/");
    for clue in [&secret, &deleted, &secret[..secret.len() - 1]] {
        program.post_json("/api/keys/lookup", serde_json::json!({"key": clue})).await.assert_ok();
        browser.submit("/keys/lookup", &[("clue", clue)]).await;
        program.post_json("/api/keys/lookup", serde_json::json!({"key": clue, (clue): 1})).await.assert_status(422);
    }
    assert_eq!(served.stop(), 0);

    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("/api/keys/lookup") && log.contains("TRACE"), "everything is logged");
    for part in [&secret[25..60], &deleted[25..60]] {
        let line = log.lines().find(|line| line.contains(part));
        assert_eq!(line, None);
    }
}

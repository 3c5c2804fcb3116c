//! Runs the real binary, without this machine's environment variables.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::database::Database;
use crate::support::settings::{MASTER_KEY, PEPPER};

/// Binary with environment variables and a working directory.
pub struct Gatepost {
    environment: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Gatepost {
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { environment, folder: tempfile::tempdir().unwrap() }
    }

    /// Uses an external database.
    pub fn on(database: &Database) -> Self {
        Self::new(&[("DATABASE_URL", &database.url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)])
    }

    /// Uses a private Postgres in this directory.
    pub fn in_dir(data_dir: &Path) -> Self {
        Self::new(&[("GATEPOST_DATA_DIR", &data_dir.display().to_string()), ("PATH", "/usr/local/bin:/usr/bin:/bin")])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(arguments).env_clear();
        // Stop without a drain, since no load balancer is in front of the test server.
        command
            .env("GATEPOST_DRAIN_SECONDS", "0")
            .envs(self.environment.iter().cloned())
            .current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that does not read stdin may have ended already.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts a command whose log goes to this file.
    pub fn start_logging(&self, arguments: &[&str], log: File) -> Child {
        self.command(arguments).env("GATEPOST_LOG", "trace").stderr(log).spawn().unwrap()
    }
}

/// Exit code and output of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Returns the only line of stdout.
    #[track_caller]
    pub fn line(&self) -> &str {
        let line = self.stdout.strip_suffix('\n').unwrap_or_else(|| panic!("a line is expected: {self:?}"));
        assert!(!line.is_empty() && !line.contains('\n'), "one line is expected: {self:?}");
        line
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.line()).unwrap()
    }

    /// Asserts that the command failed with this code and that stderr contains all of these words.
    #[track_caller]
    pub fn assert_failed_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(words.iter().all(|word| self.stderr.contains(word)), "{words:?} in {self:?}");
    }

    /// Asserts that the command was refused for wrong arguments.
    #[track_caller]
    pub fn assert_wrong(&self) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
    }

    /// Asserts that the command failed with this code, and with one line on stderr that contains all of these words.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let last = self.stderr.trim_end();
        assert!(!last.contains('\n') && last.starts_with("gatepost: "), "one line is expected: {self:?}");
        for word in words {
            assert!(last.contains(word), "{word} in {self:?}");
        }
    }
}

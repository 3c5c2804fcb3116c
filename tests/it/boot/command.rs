//! Runs the real binary, with nothing of this machine's environment.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::database::Database;
use crate::support::settings::{MASTER_KEY, PEPPER};

/// The binary in a given environment.
pub struct Gatepost {
    environment: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Gatepost {
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { environment, folder: tempfile::tempdir().unwrap() }
    }

    /// With an external database.
    pub fn on(database: &Database) -> Self {
        Self::new(&[("DATABASE_URL", &database.url), ("API_KEY_PEPPER", PEPPER), ("GATEPOST_MASTER_KEY", MASTER_KEY)])
    }

    /// With a private Postgres in this directory.
    pub fn in_dir(data_dir: &Path) -> Self {
        Self::new(&[("GATEPOST_DATA_DIR", &data_dir.display().to_string()), ("PATH", "/usr/local/bin:/usr/bin:/bin")])
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.args(arguments).env_clear();
        // Nothing stands in front of a server under test.
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
        // A command that reads nothing may have ended before we write.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        Ran::from(child.wait_with_output().unwrap())
    }

    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stderr(Stdio::null()).spawn().unwrap()
    }

    /// With everything that it logs in this file.
    pub fn start_logging(&self, arguments: &[&str], log: File) -> Child {
        self.command(arguments).env("GATEPOST_LOG", "trace").stderr(log).spawn().unwrap()
    }
}

/// How a command ended and what it said.
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

    /// The single line on stdout.
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

    /// Failed with this code and all of these words on stderr.
    #[track_caller]
    pub fn assert_failed_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(words.iter().all(|word| self.stderr.contains(word)), "{words:?} in {self:?}");
    }

    /// Asked for wrongly.
    #[track_caller]
    pub fn assert_wrong(&self) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
    }

    /// Failed with this code and one line on stderr that contains all of these.
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

//! One cluster directory: created once, started, stopped, never deleted.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use diesel::{Connection, RunQueryDsl};
use rustix::process::{Pid, WaitOptions};

use super::binaries::Binaries;
use super::children::Owner;
use super::{Trouble, lock_file, socket_dir};

const USER: &str = "gatepost";
const DATABASE: &str = "gatepost";
/// Longest time to retry a start: processes of a killed server may take a while to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster directory with all that is needed to run it.
pub struct Cluster {
    /// Directory of the cluster's files.
    pub folder: PathBuf,
    /// Directory of the programs, if the operator named one.
    pg_bin: Option<PathBuf>,
    /// Programs, found on first use: the search runs programs, and a command beside a running server needs none.
    binaries: OnceLock<Binaries>,
    data_dir: PathBuf,
    socket: PathBuf,
    owner: Owner,
}

/// Returns the major version of the data in a directory, if there is any.
pub fn version(folder: &Path) -> Result<Option<u32>, Trouble> {
    let file = folder.join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().split('.').next().and_then(|major| major.parse().ok()) {
            Some(major) => Ok(Some(major)),
            None => Err(Trouble::new(format!("{} does not hold a version", file.display()))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_foreign = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
            let shown = folder.display();
            if is_foreign {
                Err(Trouble::new(format!("{shown} holds something else than a Postgres cluster")))
            } else {
                Ok(None)
            }
        }
        Err(error) => Err(Trouble::at(&file, "can't be read", &error)),
    }
}

impl Cluster {
    pub fn new(data_dir: &Path, folder: PathBuf, pg_bin: Option<&Path>) -> Result<Self, Trouble> {
        let owner = Owner::of(&folder)?;
        let (socket, data_dir) = (socket_dir(data_dir), data_dir.to_owned());
        Ok(Self { folder, pg_bin: pg_bin.map(Path::to_owned), binaries: OnceLock::new(), socket, data_dir, owner })
    }

    /// Waits for the lock under which one process at a time creates, starts or stops the server. Dropping the file
    /// unlocks it.
    pub fn turn(&self) -> Result<File, Trouble> {
        let file = lock_file(&self.data_dir.join("postgres.lock"))?;
        file.lock().map_err(|error| Trouble::at(&self.data_dir, "can't be locked", &error))?;
        Ok(file)
    }

    /// Connection string of a database of this cluster.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@localhost/{database}?host={}", percent(&self.socket))
    }

    fn binaries(&self) -> Result<&Binaries, Trouble> {
        if let Some(binaries) = self.binaries.get() {
            return Ok(binaries);
        }
        let found = Binaries::find(self.pg_bin.as_deref(), version(&self.folder)?, &self.folder)?;
        Ok(self.binaries.get_or_init(|| found))
    }

    fn command(&self, program: &str) -> Result<Command, Trouble> {
        Ok(Command::new(self.binaries()?.folder.join(program)))
    }

    /// Creates the cluster unless it exists. `initdb` works in a directory beside it, which is then renamed: a kill
    /// leaves nothing half made.
    pub fn make_unless_made(&self) -> Result<(), Trouble> {
        if version(&self.folder)?.is_some() {
            return Ok(());
        }
        self.binaries()?;
        tracing::info!("making a private Postgres in {}", self.folder.display());
        let draft = self.data_dir.join("postgres.initdb");
        let failed = |error: std::io::Error| Trouble::at(&draft, "can't be prepared", &error);
        if draft.exists() {
            // Leftover of an `initdb` that was killed: it never held any data.
            fs::remove_dir_all(&draft).map_err(failed)?;
        }
        // Unicode order if the system has the locale, byte order otherwise.
        let locales = if cfg!(target_os = "macos") { ["en_US.UTF-8", "C"] } else { ["C.UTF-8", "C"] };
        let mut last = String::new();
        for locale in locales {
            self.owner.make_private(&draft)?;
            let mut initdb = self.command("initdb")?;
            initdb.arg("-D").arg(&draft).args(["-U", USER, "--auth=trust", "-E", "UTF8", "--data-checksums"]);
            initdb.arg(format!("--locale={locale}"));
            match self.owner.run(&mut initdb, &self.log()) {
                Ok(()) => {
                    self.include_our_settings(&draft)?;
                    return fs::rename(&draft, &self.folder)
                        .map_err(|error| Trouble::at(&self.folder, "can't be made", &error));
                }
                Err(output) => last = output,
            }
            fs::remove_dir_all(&draft).map_err(failed)?;
        }
        Err(self.explain("initdb", &last))
    }

    fn include_our_settings(&self, folder: &Path) -> Result<(), Trouble> {
        let file = folder.join("postgresql.conf");
        let failed = |error: std::io::Error| Trouble::at(&file, "can't be written", &error);
        let mut text = fs::read_to_string(&file).map_err(failed)?;
        text.push_str("\n# Written anew by Gatepost at each start; settings below this line win over it.\ninclude_if_exists = 'gatepost.conf'\n");
        fs::write(&file, text).map_err(failed)
    }

    /// Writes Gatepost's settings at each start, since the socket's path follows the data directory.
    fn write_our_settings(&self) -> Result<(), Trouble> {
        let file = self.folder.join("gatepost.conf");
        let socket = self.socket.display().to_string().replace('\'', "''").replace('"', "\"\"");
        let text = format!(
            "# Written by Gatepost at each start: change settings in postgresql.conf, below its last line.\n\
             listen_addresses = ''\nport = 5432\nunix_socket_directories = '\"{socket}\"'\nunix_socket_permissions = 0700\n\
             max_connections = 60\njit = off\ntimezone = 'UTC'\nmax_wal_size = '512MB'\n\
             fsync = on\nfull_page_writes = on\nsynchronous_commit = on\n\
             log_checkpoints = off\nlogging_collector = on\nlog_directory = 'log'\nlog_filename = 'postgres-%a.log'\n\
             log_truncate_on_rotation = on\nlog_rotation_age = '1d'\nlog_rotation_size = 0\n"
        );
        // Writing would first empty the file, which on a full disk could not be filled again.
        if fs::read_to_string(&file).is_ok_and(|present| present == text) {
            return Ok(());
        }
        fs::write(&file, text).map_err(|error| Trouble::at(&file, "can't be written", &error))
    }

    /// Starts the server unless it runs, and creates the database unless it exists.
    pub fn start_unless_running(&self) -> Result<(), Trouble> {
        if self.answers(DATABASE) {
            return Ok(());
        }
        self.binaries()?;
        let until = Instant::now() + PATIENCE;
        while !self.answers("postgres") {
            if let Err(output) = self.try_start() {
                // Processes of a killed server hold its shared memory until they notice.
                let may_pass =
                    ["already exists", "still in use", "starting up"].iter().any(|sign| output.contains(sign));
                if !may_pass || until < Instant::now() {
                    return Err(self.explain("Postgres", &output));
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        self.make_database()
    }

    fn try_start(&self) -> Result<(), String> {
        self.bury();
        self.owner.make_private(&self.socket).map_err(|trouble| trouble.to_string())?;
        self.write_our_settings().map_err(|trouble| trouble.to_string())?;
        let mut pg_ctl = self.command("pg_ctl").map_err(|trouble| trouble.to_string())?;
        pg_ctl.arg("start").arg("-D").arg(&self.folder).args(["-w", "-t", "60", "-s"]);
        self.owner.run(&mut pg_ctl, &self.log())
    }

    /// Stops the server, and waits up to 60 seconds for it.
    pub fn stop(&self) -> Result<(), Trouble> {
        if !self.is_alive() {
            return Ok(());
        }
        let mut pg_ctl = self.command("pg_ctl")?;
        pg_ctl.arg("stop").arg("-D").arg(&self.folder).args(["-m", "fast", "-w", "-t", "60", "-s"]);
        self.owner.run(&mut pg_ctl, &self.log()).map_err(|output| self.explain("pg_ctl stop", &output))
    }

    /// True if the server runs and accepts connections to this database.
    fn answers(&self, database: &str) -> bool {
        // The check of the path saves the timeout of a connection to a socket without a server.
        self.socket.join(".s.PGSQL.5432").exists() && PgConnection::establish(&self.url(database)).is_ok()
    }

    fn make_database(&self) -> Result<(), Trouble> {
        let refused = |error: &dyn std::fmt::Display| Trouble::new(format!("the private Postgres refuses: {error}"));
        if self.answers(DATABASE) {
            return Ok(());
        }
        let mut conn = PgConnection::establish(&self.url("postgres")).map_err(|error| refused(&error))?;
        let made = diesel::sql_query(format!("CREATE DATABASE {DATABASE}")).execute(&mut conn);
        made.map(drop).map_err(|error| refused(&error))
    }

    /// Returns the process that the cluster's own pid file names, if there is one.
    fn postmaster(&self) -> Option<Pid> {
        let note = fs::read_to_string(self.folder.join("postmaster.pid")).ok()?;
        note.lines().next().and_then(|line| line.trim().parse().ok()).and_then(Pid::from_raw)
    }

    /// True if the server's process runs.
    pub fn is_alive(&self) -> bool {
        let Some(pid) = self.postmaster() else { return false };
        self.bury();
        !is_dead(pid)
    }

    /// Removes a dead server from the process table. In a container this process may be the init process, where a
    /// killed server stays its zombie child, and Postgres takes a zombie for a living process.
    fn bury(&self) {
        if rustix::process::getpid().is_init()
            && let Some(pid) = self.postmaster()
        {
            // The call fails if the server is no zombie of ours: then there is nothing to do.
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }

    fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    /// Error with the most telling line of a program's output.
    fn explain(&self, what: &str, output: &str) -> Trouble {
        let told =
            output.lines().rev().find(|line| ["FATAL", "error", "could not"].iter().any(|sign| line.contains(sign)));
        let told =
            told.or_else(|| output.lines().rev().find(|line| !line.trim().is_empty())).unwrap_or("no reason was given");
        let hint = if output.contains("Permission denied") && rustix::process::geteuid().is_root() {
            " (as root, Postgres runs as another user, who must be able to pass through the directories above the data directory)"
        } else {
            ""
        };
        let log = self.log();
        Trouble::new(format!("{what} failed: {}{hint}; all of it is in {}", told.trim(), log.display()))
    }
}

/// True if a process is gone, or has ended and waits for its parent to collect it.
fn is_dead(pid: Pid) -> bool {
    let is_gone = matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH));
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    is_gone || stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

/// Encodes a path for the query of a URL, as libpq decodes it.
fn percent(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

//! The private Postgres of an instance without `DATABASE_URL`: created once, started on need, stopped by its last
//! user.

mod binaries;
mod children;
mod cluster;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use binaries::Binaries;
pub use binaries::HOW_TO_INSTALL;
use cluster::Cluster;

use crate::domain::checksum::crc32;

/// Pause between two checks of the supervisor that Postgres is alive.
const PULSE: Duration = Duration::from_millis(500);

/// Reason why the private Postgres can't be used, in one sentence for the person who starts Gatepost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(String);

impl Trouble {
    fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// Describes what failed at a path.
    fn at(path: &Path, what: &str, error: &std::io::Error) -> Self {
        Self(format!("{}: {what}: {error}", path.display()))
    }
}

/// Outlook for a start of the private Postgres.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// Version of the server programs, such as `15.18`.
    pub version: String,
    /// True if a cluster exists already.
    pub is_made: bool,
}

/// Looks for programs and data without changing anything.
pub fn prospect(data_dir: &Path, pg_bin: Option<&Path>) -> Result<Prospect, Trouble> {
    let folder = data_dir.join("postgres");
    let version = cluster::version(&folder)?;
    let binaries = Binaries::find(pg_bin, version, &folder)?;
    Ok(Prospect { version: binaries.version, is_made: version.is_some() })
}

/// True if the data directory holds a cluster.
pub fn is_made(data_dir: &Path) -> Result<bool, Trouble> {
    Ok(cluster::version(&data_dir.join("postgres"))?.is_some())
}

/// A running private Postgres that this process uses. Dropping it stops the server, unless another process uses it
/// too.
pub struct Embedded {
    cluster: Arc<Cluster>,
    /// Lock file that every process using the server holds shared. A process that gets it exclusively is the last one.
    /// True from the start of the drop: the supervisor must not start the server again.
    users: File,
    stopping: Arc<AtomicBool>,
    supervisor: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Embedded {
    /// Creates the cluster if there is none, and starts the server unless it runs already.
    pub fn start(data_dir: &Path, pg_bin: Option<&Path>) -> Result<Self, Trouble> {
        open_data_dir(data_dir)?;
        let folder = data_dir.join("postgres");
        let cluster = Arc::new(Cluster::new(data_dir, folder, pg_bin)?);
        let users = lock_file(&data_dir.join("postgres.users"))?;
        let turn = cluster.turn()?;
        cluster.make_unless_made()?;
        cluster.start_unless_running()?;
        users.lock_shared().map_err(|error| Trouble::at(data_dir, "can't be locked", &error))?;
        drop(turn);
        Ok(Self { cluster, users, stopping: Arc::default(), supervisor: Mutex::default() })
    }

    /// Connection string for libpq and Diesel.
    pub fn url(&self) -> String {
        self.cluster.url("gatepost")
    }

    /// Directory of the cluster.
    pub fn folder(&self) -> &Path {
        &self.cluster.folder
    }

    /// Watches the server and starts it again if it dies. For processes that live long.
    pub fn supervise(&self) {
        let (cluster, stopping) = (Arc::clone(&self.cluster), Arc::clone(&self.stopping));
        let watch = move || {
            while !stopping.load(Ordering::Acquire) {
                thread::park_timeout(PULSE);
                if !stopping.load(Ordering::Acquire) && !cluster.is_alive() {
                    revive(&cluster, &stopping);
                }
            }
        };
        match thread::Builder::new().name("postgres-watch".to_owned()).spawn(watch) {
            Ok(handle) => *self.supervisor.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(handle),
            Err(error) => tracing::error!(%error, "the private Postgres will not be started again if it dies"),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let supervisor = self.supervisor.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(handle) = supervisor {
            handle.thread().unpark();
            // A supervisor that panicked has logged it already.
            let _ = handle.join();
        }
        if let Err(trouble) = stop_unless_used(&self.cluster, &self.users) {
            tracing::warn!("the private Postgres was not stopped: {trouble}");
        }
    }
}

/// Stops the server if no other process holds the users' lock.
fn stop_unless_used(cluster: &Cluster, users: &File) -> Result<(), Trouble> {
    let _turn = cluster.turn()?;
    let failed = |error: &std::io::Error| Trouble::at(&cluster.folder, "can't be unlocked", error);
    users.unlock().map_err(|error| failed(&error))?;
    if users.try_lock().is_err() {
        return Ok(());
    }
    cluster.stop()
}

/// Starts a server that died, unless this process is stopping.
fn revive(cluster: &Cluster, stopping: &AtomicBool) {
    tracing::warn!("the private Postgres has died: starting it again");
    let revived = cluster
        .turn()
        .and_then(|_turn| if stopping.load(Ordering::Acquire) { Ok(()) } else { cluster.start_unless_running() });
    match revived {
        Ok(()) => tracing::info!("the private Postgres runs again"),
        Err(trouble) => tracing::error!("the private Postgres does not start: {trouble}"),
    }
}

/// Creates the data directory. Other users may pass through it (the server may run as one), but not list it.
fn open_data_dir(data_dir: &Path) -> Result<(), Trouble> {
    let failed = |error: &std::io::Error| Trouble::at(data_dir, "the data directory can't be used", error);
    DirBuilder::new().recursive(true).mode(0o711).create(data_dir).map_err(|error| failed(&error))?;
    let mode = fs::metadata(data_dir).map_err(|error| failed(&error))?.mode();
    if rustix::process::geteuid().is_root() && mode & 0o001 == 0 {
        fs::set_permissions(data_dir, Permissions::from_mode(mode | 0o001)).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Opens a lock file, creating it if needed.
fn lock_file(path: &Path) -> Result<File, Trouble> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| Trouble::at(path, "can't be written", &error))
}

/// True if a path to a socket in this directory is short enough for the system (104 bytes on macOS, 108 on Linux).
fn fits_a_socket(folder: &Path) -> bool {
    folder.as_os_str().len() + "/.s.PGSQL.5432".len() < 104
}

/// Directory of the socket: beside the data, or a short private one if that path is too long.
fn socket_dir(data_dir: &Path) -> PathBuf {
    let beside = data_dir.join("run");
    if fits_a_socket(&beside) {
        return beside;
    }
    let name = crc32(data_dir.as_os_str().as_encoded_bytes());
    Path::new("/tmp").join(format!("gatepost-{}-{name:08x}", rustix::process::geteuid().as_raw()))
}

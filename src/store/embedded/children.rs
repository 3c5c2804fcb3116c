//! Runs the programs of Postgres. As root it runs them as another user, since Postgres refuses root.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Trouble;

/// System user that owns the server's files and processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
    /// True if this process is root and must switch to the user.
    is_other: bool,
}

impl Owner {
    /// Returns the owner of existing data. For new data it is this process's user, or for root an unprivileged one.
    pub fn of(folder: &Path) -> Result<Self, Trouble> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let existing = fs::metadata(folder).ok().map(|found| (found.uid(), found.gid()));
        match (uid, existing) {
            (0, Some((owner, group))) if owner != 0 => Ok(Self { uid: owner, gid: group, is_other: true }),
            (0, _) => Self::system_user(),
            (_, Some((owner, _))) if owner != uid => Err(Trouble::new(format!(
                "{} belongs to another user: start Gatepost as that user, or choose another GATEPOST_DATA_DIR",
                folder.display()
            ))),
            _ => Ok(Self { uid, gid, is_other: false }),
        }
    }

    fn system_user() -> Result<Self, Trouble> {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let find = |wanted: &str| {
            users.lines().find_map(|line| {
                let mut fields = line.split(':');
                let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
                (name == wanted).then_some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()?, is_other: true })
            })
        };
        find("postgres").or_else(|| find("nobody")).ok_or_else(|| {
            Trouble::new("Postgres refuses to run as root, and there is no user postgres or nobody: start Gatepost as another user")
        })
    }

    /// Creates a directory that only this user may enter. It refuses one that another user could have prepared.
    pub fn make_private(&self, folder: &Path) -> Result<(), Trouble> {
        let failed = |error: io::Error| Trouble::at(folder, "can't be made", &error);
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let found = fs::symlink_metadata(folder).map_err(failed)?;
        let is_ours = found.is_dir() && (found.uid() == self.uid || found.uid() == rustix::process::geteuid().as_raw());
        if !is_ours {
            return Err(Trouble::new(format!("{} is not a directory of ours: remove it", folder.display())));
        }
        if self.is_other {
            chown(folder, Some(self.uid), Some(self.gid)).map_err(failed)?;
        }
        Ok(())
    }

    /// Runs a program to its end. On failure the error holds its output. The output goes to a file: the server that
    /// `pg_ctl` starts outlives it, and would keep a pipe open for as long as it runs.
    pub fn run(&self, command: &mut Command, output: &Path) -> Result<(), String> {
        let write =
            || -> io::Result<File> { fs::OpenOptions::new().create(true).write(true).truncate(true).open(output) };
        let file = write().map_err(|error| format!("{}: {error}", output.display()))?;
        let errors = file.try_clone().map_err(|error| error.to_string())?;
        command.current_dir("/").env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        if self.is_other {
            command.uid(self.uid).gid(self.gid);
        }
        let status = command.status().map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        Err(fs::read_to_string(output).unwrap_or_default())
    }
}

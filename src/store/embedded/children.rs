//! Runs the programs of Postgres, as another user where we are root, since it refuses root.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Trouble;

/// Whom the server's files and processes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
    /// We are root and have to change to it.
    is_other: bool,
}

impl Owner {
    /// The owner of data that exists; for new data ourselves, or as root the user `postgres` or `nobody`.
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

    /// Makes a directory that only this user enters. One that others could have prepared is refused.
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

    /// Runs a program to its end; its output is the error. The server that `pg_ctl` starts outlives it, so its
    /// output goes to a file: a pipe would stay open for as long as the server runs.
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

//! Private Postgres cluster of a chosen version, in memory: for tests about roles, which all databases of a cluster
//! share.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use gatepost::store::embedded::Embedded;

use super::database::Database;

pub struct Cluster {
    embedded: Embedded,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts a cluster of the newest version on this machine.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts a cluster of this major version, or of the newest one on a machine that does not have it.
    pub fn of_version(major: u32) -> Self {
        let bin = server_programs(major);
        if bin.is_none() {
            eprintln!("PostgreSQL {major} is not on this machine (scripts/need test installs it): the newest is used");
        }
        Self::start_with(bin)
    }

    fn start_with(bin: Option<PathBuf>) -> Self {
        let memory = Path::new("/dev/shm");
        let has_room = rustix::fs::statvfs(memory).is_ok_and(|found| 1 << 30 < found.f_bavail * found.f_frsize);
        let place = if has_room { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("gatepost-cluster.").tempdir_in(place).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let bin = bin.map(|bin| within_reach(&bin, folder.path()));
        let embedded = Embedded::start(&folder.path().join("data"), bin.as_deref()).expect("the cluster starts");
        Self { embedded, folder }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn url(&self, user: &str, database: &str) -> String {
        let own = self.embedded.url();
        let (_, query) = own.split_once('?').expect("the address names a socket");
        format!("postgres://{user}@localhost/{database}?{query}")
    }

    /// Runs these statements as the superuser `gatepost`.
    pub fn execute(&self, database: &str, sql: &str) {
        let mut conn = PgConnection::establish(&self.url("gatepost", database)).expect("the cluster answers");
        conn.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Creates a user with these attributes, who is no superuser, and a database that belongs to them.
    pub fn owned_database(&self, name: &str, attributes: &str) -> Database {
        self.execute("postgres", &format!("CREATE ROLE {name} LOGIN {attributes}"));
        self.execute("postgres", &format!("CREATE DATABASE {name} OWNER {name}"));
        Database::elsewhere(self.url(name, name))
    }

    pub fn version(&self) -> i32 {
        #[derive(QueryableByName)]
        struct Version {
            #[diesel(sql_type = diesel::sql_types::Integer)]
            number: i32,
        }
        let mut conn = PgConnection::establish(&self.embedded.url()).unwrap();
        let query = "SELECT current_setting('server_version_num')::int / 10000 AS number";
        diesel::sql_query(query).get_result::<Version>(&mut conn).unwrap().number
    }
}

/// Returns the directory with the programs of this version: those that `scripts/need test` installs, or the system's.
fn server_programs(major: u32) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_gatepost")).ancestors().nth(2).unwrap();
    let installed = target.join(format!("postgres/node_modules/postgres-{major}/native/bin"));
    let system = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    [installed, system].into_iter().find(|bin| bin.join("initdb").exists())
}

/// Returns a directory of programs that Postgres can run. Started by root, Postgres runs as another user, so programs
/// in a directory that only root can enter are copied.
fn within_reach(bin: &Path, folder: &Path) -> PathBuf {
    let can_enter = |place: &Path| fs::metadata(place).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
    if bin.ancestors().all(can_enter) {
        return bin.to_owned();
    }
    let copied = Command::new("cp").arg("-r").arg(bin.parent().unwrap()).arg(folder.join("native")).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} can't be copied", bin.display());
    folder.join("native/bin")
}

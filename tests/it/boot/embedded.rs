//! Private Postgres: creation, sharing, crashes, restart, stop, and its error messages.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use gatepost::store::embedded::Embedded;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

fn rows(url: &str) -> QueryResult<i64> {
    let mut conn = PgConnection::establish(url).map_err(|_| diesel::result::Error::BrokenTransactionManager)?;
    let found: Count = diesel::sql_query("SELECT count(*) AS count FROM things").get_result(&mut conn)?;
    Ok(found.count)
}

fn execute(url: &str, sql: &str) {
    diesel::sql_query(sql).execute(&mut PgConnection::establish(url).unwrap()).unwrap();
}

fn postmaster(data_dir: &Path) -> i32 {
    let note = fs::read_to_string(data_dir.join("postgres/postmaster.pid")).unwrap();
    note.lines().next().unwrap().parse().unwrap()
}

fn is_running(data_dir: &Path) -> bool {
    data_dir.join("postgres/postmaster.pid").exists()
}

/// Creates a data directory that the user of Postgres can reach, with a space in its name.
fn data_dir() -> (tempfile::TempDir, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("its data");
    (folder, data_dir)
}

fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "in 20 seconds: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_server_stops_with_its_last_user_and_keeps_the_data() {
    let (_folder, data_dir) = data_dir();
    let first = Embedded::start(&data_dir, None).unwrap();
    execute(&first.url(), "CREATE TABLE things (name TEXT)");
    let second = Embedded::start(&data_dir, None).unwrap();
    drop(first);
    assert!(is_running(&data_dir), "the second still uses it");
    assert_eq!(rows(&second.url()), Ok(0));
    drop(second);
    assert!(!is_running(&data_dir), "nobody uses it");
    let third = Embedded::start(&data_dir, None).unwrap();
    assert_eq!(rows(&third.url()), Ok(0));
}

#[test]
fn a_killed_server_is_started_again_with_all_committed_data() {
    let (_folder, data_dir) = data_dir();
    let embedded = Embedded::start(&data_dir, None).unwrap();
    embedded.supervise();
    execute(&embedded.url(), "CREATE TABLE things AS SELECT 'a' AS name");
    let killed = postmaster(&data_dir);
    kill(killed);
    soon("another server answers", || {
        let is_another = is_running(&data_dir) && postmaster(&data_dir) != killed;
        is_another.then(|| rows(&embedded.url()).ok()).flatten()
    });
    assert_eq!(rows(&embedded.url()), Ok(1));
}

#[test]
fn a_server_killed_with_its_users_is_started_again_by_the_next_user() {
    let (_folder, data_dir) = data_dir();
    let embedded = Embedded::start(&data_dir, None).unwrap();
    execute(&embedded.url(), "CREATE TABLE things AS SELECT 'a' AS name");
    kill(postmaster(&data_dir));
    let next = Embedded::start(&data_dir, None).unwrap();
    assert_eq!(rows(&next.url()), Ok(1));
}

#[test]
fn a_start_succeeds_after_a_killed_initdb() {
    let (_folder, data_dir) = data_dir();
    fs::create_dir_all(data_dir.join("postgres.initdb/base")).unwrap();
    fs::write(data_dir.join("postgres.initdb/PG_VERSION"), "15\n").unwrap();
    let embedded = Embedded::start(&data_dir, None).unwrap();
    execute(&embedded.url(), "CREATE TABLE things (name TEXT)");
}

#[test]
fn data_of_another_major_version_is_refused_and_unchanged() {
    let (_folder, data_dir) = data_dir();
    fs::create_dir_all(data_dir.join("postgres")).unwrap();
    fs::write(data_dir.join("postgres/PG_VERSION"), "9\n").unwrap();
    let trouble = Embedded::start(&data_dir, None).err().unwrap().to_string();
    assert!(trouble.contains("holds data of PostgreSQL 9"), "{trouble}");
    assert_eq!(fs::read_to_string(data_dir.join("postgres/PG_VERSION")).unwrap(), "9\n");
}

#[test]
fn a_directory_with_other_files_is_refused_and_unchanged() {
    let (_folder, data_dir) = data_dir();
    fs::create_dir_all(data_dir.join("postgres")).unwrap();
    fs::write(data_dir.join("postgres/thesis.txt"), "years of work").unwrap();
    let trouble = Embedded::start(&data_dir, None).err().unwrap().to_string();
    assert!(trouble.contains("something else"), "{trouble}");
}

#[test]
fn a_socket_path_that_is_too_long_is_avoided() {
    let (folder, _) = data_dir();
    let data_dir = folder.path().join("a".repeat(100));
    let embedded = Embedded::start(&data_dir, None).unwrap();
    execute(&embedded.url(), "CREATE TABLE things (name TEXT)");
    assert!(embedded.url().contains("/tmp/gatepost-"));
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

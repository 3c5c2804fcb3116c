//! Real PgBouncer in front of the database: refused if it shares sessions, and used if it does not.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diesel::prelude::*;
use url::Url;

use super::wrong;
use crate::boot::Gatepost;
use crate::support::TestApp;
use crate::support::database::Database;

struct Pooler {
    child: Child,
    folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts a PgBouncer before the test cluster, with these settings.
    fn start(database: &Database, settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().display();
        let url = Url::parse(&database.url).unwrap();
        let socket = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
        let config = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={socket} user=postgres\n[pgbouncer]\nlisten_port = 6432\nunix_socket_dir = {place}\n\
             auth_type = any\nlogfile = {place}/log\n{settings}\n"
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let program =
            ["/usr/sbin/pgbouncer", "/opt/homebrew/bin/pgbouncer"].into_iter().find(|it| Path::new(it).exists());
        let mut command = Command::new(program.unwrap_or("pgbouncer"));
        command.arg("-q").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        if rustix::process::geteuid().is_root() {
            // PgBouncer refuses to run as root.
            let owner = 65_534;
            chown(folder.path(), Some(owner), Some(owner)).unwrap();
            command.uid(owner).gid(owner);
        }
        let pooler = Self { child: command.spawn().expect("pgbouncer starts (scripts/need test installs it)"), folder };
        for _ in 0..500 {
            if PgConnection::establish(&pooler.url(database)).is_ok() {
                return pooler;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", fs::read_to_string(pooler.folder.path().join("log")).unwrap_or_default());
    }

    fn url(&self, database: &Database) -> String {
        let mut url = Url::parse(&database.url).unwrap();
        url.set_port(Some(6432)).unwrap();
        url.set_query(Some(&format!("host={}", self.folder.path().display())));
        url.to_string()
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes on everything but notifications, as some poolers do. Returns the address before this database.
fn without_notifications(database: &Database, folder: &Path) -> String {
    let mut url = Url::parse(&database.url).unwrap();
    let socket = url.query_pairs().find(|(name, _)| name == "host").unwrap().1.into_owned();
    let listener = UnixListener::bind(folder.join(".s.PGSQL.5432")).unwrap();
    std::thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let server = UnixStream::connect(format!("{socket}/.s.PGSQL.5432")).unwrap();
            let (mut up, mut down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = io::copy(&mut up, &mut down);
                let _ = down.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || pass_on(server, client));
        }
    });
    url.set_query(Some(&format!("host={}", folder.display())));
    url.to_string()
}

/// Copies the server's messages, each a letter, its length and its body, and leaves out notifications.
fn pass_on(mut server: UnixStream, mut client: UnixStream) -> io::Result<()> {
    loop {
        let mut head = [0; 5];
        server.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut body = vec![0; length - 4];
        server.read_exact(&mut body)?;
        if head[0] != b'A' {
            client.write_all(&head)?;
            client.write_all(&body)?;
        }
    }
}

#[test]
fn a_pooler_that_hides_notifications_is_refused() {
    let (database, folder) = (Database::empty(), tempfile::tempdir().unwrap());
    let pooled = Database::elsewhere(without_notifications(&database, folder.path()));
    Gatepost::on(&pooled).run(&["migrate"]).assert_failed(1, &["connection pooler", "NOTIFY does not reach"]);
}

/// Runs all commands that connect to the database, and expects an error that says what to do.
#[track_caller]
fn assert_refused(settings: &str) {
    let database = Database::empty();
    let pooler = Pooler::start(&database, settings);
    let pooled = Database::elsewhere(pooler.url(&database));
    let gatepost = Gatepost::on(&pooled);
    for command in [&["migrate"][..], &["serve", "--bind", "127.0.0.1:0"], &["tenants", "list"]] {
        gatepost.run(command).assert_failed(1, &["connection pooler", "session mode", "address of Postgres itself"]);
    }
    let says = wrong(&pooled);
    assert!(says.contains("connection pooler"), "{says}");
}

#[test]
fn a_pooler_in_transaction_mode_is_refused_with_what_to_do() {
    assert_refused("pool_mode = transaction");
}

#[test]
fn a_pooler_in_transaction_mode_with_round_robin_is_refused() {
    assert_refused("pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = 3");
}

#[test]
fn a_pooler_in_statement_mode_is_refused() {
    assert_refused("pool_mode = statement");
}

#[actix_web::test]
async fn a_pooler_in_session_mode_serves() {
    let database = Database::empty();
    let pooler = Pooler::start(&database, "pool_mode = session\ndefault_pool_size = 40");
    let mut app = TestApp::start_on(Database::elsewhere(pooler.url(&database)), &[]).await;
    app.tenant = app.make_tenant("acme");
    let program = app.program().await;
    app.until_all_is_heard(&program).await;
    assert_eq!(wrong(&app.database), "");
    app.stop().await;
}

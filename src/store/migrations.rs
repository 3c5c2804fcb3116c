//! Brings a database to this version's tables, and refuses databases that can't hold them.

use diesel::pg::PgConnection;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryableByName, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::partitions;
use crate::domain::{Clock, Error, Result};

pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// The oldest server, as `server_version_num` counts.
const OLDEST: i32 = 140_000;
/// Of the advisory lock under which one process migrates: "gatepost" in ASCII.
const LOCK: i64 = 0x6761_7465_706f_7374;

/// Why a database can't be used, in one sentence for the person who starts Gatepost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

#[derive(QueryableByName)]
struct Server {
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Text)]
    version: String,
    #[diesel(sql_type = Text)]
    fsync: String,
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    #[diesel(sql_type = Text)]
    who: String,
    /// Whether the role of tenants' work is there and ours, or can be made.
    #[diesel(sql_type = Bool)]
    has_role: bool,
}

/// What was found out about a database, for the console and for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The server's version: `15.18`.
    pub version: String,
    /// Migrations run just now, or waiting to be run.
    pub pending: Vec<String>,
    /// Ways in which the server would lose what it has acknowledged.
    pub dangers: Vec<String>,
}

/// Connects, or says in one line why that does not work.
pub fn connect(url: &str) -> Result<PgConnection, Unfit> {
    super::connect::establish(url).map_err(|error| {
        let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Unfit(format!("the database can't be reached: {text}"))
    })
}

/// Runs what has not been run, one process at a time.
pub fn run(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let report = look(conn)?;
    let failed = |error: &dyn std::fmt::Display| Unfit(format!("the migrations failed: {error}"));
    let ask = |sql: &str, conn: &mut PgConnection| {
        diesel::sql_query(sql).bind::<BigInt, _>(LOCK).execute(conn).map_err(|error| failed(&error))
    };
    ask("SELECT pg_advisory_lock($1)", conn)?;
    let ran = conn.run_pending_migrations(MIGRATIONS).map_err(|error| failed(&error))?;
    let pending = ran.iter().map(ToString::to_string).collect();
    // A start after a long rest finds none of today.
    partitions::make_by_id(conn, &partitions::ahead(Clock::default().now(), 1)).map_err(|error| failed(&error))?;
    ask("SELECT pg_advisory_unlock($1)", conn)?;
    Ok(Report { pending, ..report })
}

/// Looks at a database and changes nothing.
pub fn examine(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let report = look(conn)?;
    let pending = conn.pending_migrations(MIGRATIONS).map_err(|error| Unfit(error.to_string()))?;
    Ok(Report { pending: pending.iter().map(|migration| migration.name().to_string()).collect(), ..report })
}

/// Whether a database has all tables of this version: for `/readyz`.
pub fn is_current(conn: &mut PgConnection) -> Result<bool> {
    let pending = conn.has_pending_migration(MIGRATIONS).map_err(|error| Error::unavailable(error.to_string()))?;
    Ok(!pending)
}

fn look(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let query = "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version, \
                 current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, current_user::text AS who, \
                 EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)) \
                 OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatepost_app' AND pg_has_role(oid, 'MEMBER')) AS has_role";
    let server: Server = diesel::sql_query(query).get_result(conn).map_err(|error| Unfit(error.to_string()))?;
    let version = server.version.split_whitespace().next().unwrap_or_default().to_owned();
    if server.number < OLDEST {
        return Err(Unfit(format!("the database is PostgreSQL {version}: Gatepost needs 14 or newer")));
    }
    if !server.has_role {
        let who = server.who.replace('"', "\"\"");
        return Err(Unfit(format!(
            "the database's user may not make roles: let its administrator run \
             `CREATE ROLE gatepost_app NOLOGIN; GRANT gatepost_app TO \"{who}\";`"
        )));
    }
    let mut dangers = Vec::new();
    if server.fsync == "off" {
        dangers.push("fsync is off: a crash of the database's machine can destroy everything".to_owned());
    }
    if server.synchronous_commit == "off" {
        dangers.push("synchronous_commit is off: a crash can lose events that were acknowledged".to_owned());
    }
    dangers.extend(other_language(conn)?);
    Ok(Report { version, pending: Vec::new(), dangers })
}

/// Complains about messages that `store::error` cannot read.
fn other_language(conn: &mut PgConnection) -> Result<Option<String>, Unfit> {
    #[derive(QueryableByName)]
    struct Language {
        #[diesel(sql_type = Text)]
        lc_messages: String,
        #[diesel(sql_type = Bool)]
        is_english: bool,
    }
    let query = "SELECT current_setting('lc_messages') AS lc_messages,
                        current_setting('lc_messages') ~ '^(C$|C\\.|POSIX|en|English|$)' AS is_english";
    let language: Language = diesel::sql_query(query).get_result(conn).map_err(|error| Unfit(error.to_string()))?;
    Ok((!language.is_english).then(|| {
        format!(
            "the database's messages are in the language {}, and this user may not change that: some outages are answered \
             500 in place of 503; let the database's administrator set lc_messages to C",
            language.lc_messages
        )
    }))
}

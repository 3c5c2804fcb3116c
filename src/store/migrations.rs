//! Brings a database to this version's tables, and refuses databases that can't hold them.

use std::collections::BTreeSet;

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::{Pg, PgConnection};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{QueryableByName, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::fitness::{self, Unfit};
use super::{server_clock, tenant_role};
use crate::domain::{Clock, clock};

/// The migrations of this version, compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Oldest supported server, in the unit of `server_version_num`.
const OLDEST: i32 = 140_000;
/// Key of the advisory lock under which one process at a time migrates or repairs: "gatepost" in ASCII.
pub(super) const LOCK: i64 = 0x6761_7465_706f_7374;

#[derive(QueryableByName)]
struct Server {
    /// Version as a number, such as 150018.
    #[diesel(sql_type = Integer)]
    number: i32,
    /// Version as text, such as `15.18`.
    #[diesel(sql_type = Text)]
    version: String,
    /// Setting `fsync`: `on` or `off`.
    #[diesel(sql_type = Text)]
    fsync: String,
    /// Setting `synchronous_commit`.
    #[diesel(sql_type = Text)]
    synchronous_commit: String,
    /// Statement that an administrator must run so that the user may create tables; `None` if it may.
    #[diesel(sql_type = Nullable<Text>)]
    lacks: Option<String>,
}

/// Findings about a database, for the console and for `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Version of the server, such as `15.18`.
    pub version: String,
    /// Migrations that were run just now, or that are still to run.
    pub pending: Vec<String>,
    /// True if no migration was ever run.
    pub is_empty: bool,
    /// Reasons why requests would fail, why the server could lose acknowledged data, or by how much its clock is off.
    pub dangers: Vec<String>,
}

/// Connects, or explains in one line why that fails.
pub fn connect(url: &str) -> Result<PgConnection, Unfit> {
    super::connect::establish(url).map_err(|error| {
        let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Unfit::new(format!("the database can't be reached: {text}"))
    })
}

/// Runs the pending migrations, one process at a time, and repairs what a database can have lost.
pub fn run(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let report = look(conn)?;
    missing(&applied(conn)?)?;
    let failed = |error: &dyn std::fmt::Display| Unfit::new(format!("the migrations failed: {error}"));
    let ask = |sql: &str, conn: &mut PgConnection| {
        diesel::sql_query(sql).bind::<BigInt, _>(LOCK).execute(conn).map_err(|error| failed(&error))
    };
    ask("SELECT pg_advisory_lock($1)", conn)?;
    if !is_current(conn)? {
        // Migrations grant rights to the role and change policies, and a restore can have lost both.
        tenant_role::ensure(conn).map_err(|error| fitness::explain(conn, &error))?;
    }
    let ran = conn.run_pending_migrations(MIGRATIONS).map_err(|error| failed(&error))?;
    let pending = ran.iter().map(ToString::to_string).collect();
    fitness::repair(conn)?;
    fitness::check(conn)?;
    ask("SELECT pg_advisory_unlock($1)", conn)?;
    Ok(Report { pending, ..report })
}

/// Examines a database without changing it.
pub fn examine(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let mut report = look(conn)?;
    let applied = applied(conn)?;
    report.pending = missing(&applied)?;
    report.is_empty = applied.is_empty();
    let unfit = if report.pending.is_empty() { fitness::check(conn) } else { fitness::rehearse(conn) };
    report.dangers.extend(unfit.err().map(|unfit| unfit.to_string()));
    Ok(report)
}

/// Examines a database without changing it, and refuses one without the tables of this version.
pub fn must_be_current(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let report = examine(conn)?;
    match report.pending.len() {
        0 => Ok(report),
        _ if report.is_empty => Err(Unfit::new(
            "the database has no tables of Gatepost: `gatepost doctor` prints which database is in use; if it is the right \
             one, run `gatepost migrate`",
        )),
        count => Err(Unfit::new(format!(
            "the database has tables of an older version ({count} migrations are missing): run `gatepost migrate`"
        ))),
    }
}

/// Returns the versions of the migrations that were run. Unlike Diesel's own function, it creates no table to look
/// them up.
fn applied(conn: &mut PgConnection) -> Result<BTreeSet<String>, Unfit> {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let load = |sql: &str, conn: &mut PgConnection| -> Result<Vec<Version>, Unfit> {
        diesel::sql_query(sql).load(conn).map_err(|error| Unfit::new(error.to_string()))
    };
    let table = "SELECT ''::text AS version WHERE to_regclass('__diesel_schema_migrations') IS NOT NULL";
    if load(table, conn)?.is_empty() {
        return Ok(BTreeSet::new());
    }
    let rows = load("SELECT version::text AS version FROM __diesel_schema_migrations", conn)?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}

/// Returns the names of this version's migrations that were not run.
///
/// # Errors
/// Fails if migrations of a newer version were run.
fn missing(applied: &BTreeSet<String>) -> Result<Vec<String>, Unfit> {
    let own = own()?;
    if let Some(foreign) = applied.iter().find(|version| own.iter().all(|(known, _)| known != *version)) {
        return Err(Unfit::new(format!(
            "the database has tables of a newer version of Gatepost (migration {foreign}): run that version, or restore a \
             backup from before its upgrade"
        )));
    }
    Ok(own.into_iter().filter(|(version, _)| !applied.contains(version)).map(|(_, name)| name).collect())
}

/// Returns versions and names of this version's migrations.
fn own() -> Result<Vec<(String, String)>, Unfit> {
    let own = MigrationSource::<Pg>::migrations(&MIGRATIONS).map_err(|error| Unfit::new(error.to_string()))?;
    Ok(own.iter().map(|one| (one.name().version().to_string(), one.name().to_string())).collect())
}

/// Returns true if a database has all tables of this version. It may also have those of a newer version: another
/// replica may have been upgraded already.
pub fn is_current(conn: &mut PgConnection) -> Result<bool, Unfit> {
    let applied = applied(conn)?;
    Ok(own()?.iter().all(|(version, _)| applied.contains(version)))
}

/// Examines the server, and refuses one that can't hold the tables.
fn look(conn: &mut PgConnection) -> Result<Report, Unfit> {
    let query = "SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version, \
                 current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit, \
                 CASE WHEN has_schema_privilege(current_schema(), 'CREATE') THEN NULL \
                 ELSE format('GRANT USAGE, CREATE ON SCHEMA %I TO %I', coalesce(current_schema(), 'public'), current_user) END AS lacks";
    let server: Server = diesel::sql_query(query).get_result(conn).map_err(|error| Unfit::new(error.to_string()))?;
    let version = server.version.split_whitespace().next().unwrap_or_default().to_owned();
    if server.number < OLDEST {
        return Err(Unfit::new(format!("the database is PostgreSQL {version}: Gatepost needs 14 or newer")));
    }
    fitness::check_owner(conn)?;
    if let Some(sql) = server.lacks {
        return Err(Unfit::new(format!(
            "the database's user may not create tables: let it own the database, or let an administrator run `{sql};` there"
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
    let offset = server_clock::offset(conn, &Clock::default()).map_err(|error| Unfit::new(error.to_string()))?;
    dangers.extend(offset.and_then(clock::complaint));
    Ok(Report { version, pending: Vec::new(), is_empty: false, dangers })
}

/// Warns if the server's messages are not in English, which `store::error` needs.
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
    let language: Language =
        diesel::sql_query(query).get_result(conn).map_err(|error| Unfit::new(error.to_string()))?;
    Ok((!language.is_english).then(|| {
        format!(
            "the database's messages are in the language {}, and this user may not change that: some outages are answered \
             500 in place of 503; let the database's administrator set lc_messages to C",
            language.lc_messages
        )
    }))
}

//! Detection of a connection pooler that shares the server's sessions among its clients, by its behaviour, not its
//! name.

use std::thread;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;
use diesel::sql_types::{Bool, Integer};
use diesel::{QueryResult, QueryableByName, RunQueryDsl};

use super::fitness::Unfit;
use super::migrations::connect;

/// Rounds that compare both sessions: poolers hand out connections in different orders, and one round can miss
/// sharing.
const ROUNDS: usize = 2;
/// Pauses after which a notification counts as lost.
const PATIENCE: u32 = 100;
/// Pause between two looks for the notification.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(QueryableByName)]
struct Session {
    /// Process id of the server's backend.
    #[diesel(sql_type = Integer)]
    pid: i32,
    /// True if this session has the setting that the check made.
    #[diesel(sql_type = Bool)]
    has_setting: bool,
}

/// Checks that each connection keeps its own session: prepared statements, settings and `LISTEN` depend on it.
///
/// # Errors
/// Says what was detected and what to do about it.
pub fn check(url: &str) -> Result<(), Unfit> {
    let (mut one, mut other) = (connect(url)?, connect(url)?);
    let evidence = if sessions_are_shared(&mut one, &mut other)? {
        "its clients share sessions"
    } else if hears(&mut one, &mut other)? {
        return Ok(());
    } else {
        "a NOTIFY does not reach the connection that listens"
    };
    Err(Unfit::new(format!(
        "DATABASE_URL leads to a connection pooler that Gatepost can't use ({evidence}): set it to session mode \
         (PgBouncer: pool_mode = session), or give the address of Postgres itself; Gatepost needs prepared statements, \
         session settings and LISTEN"
    )))
}

/// Returns true unless two connections that are open at once have two sessions, and each keeps its own.
fn sessions_are_shared(one: &mut PgConnection, other: &mut PgConnection) -> QueryResult<bool> {
    one.batch_execute("SET gatepost.session = 'kept'")?;
    for _ in 0..ROUNDS {
        let looks: QueryResult<_> = (|| Ok((session(one)?, session(other)?, session(other)?, session(one)?)))();
        let (first, second, second_again, first_again) = match looks {
            Ok(looks) => looks,
            // The statement was prepared in one session and executed in another.
            Err(DieselError::DatabaseError(_, info)) if info.message().contains("prepared statement") => {
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let is_kept = first.has_setting && first_again.has_setting && !second.has_setting && !second_again.has_setting;
        let is_own = first.pid == first_again.pid && second.pid == second_again.pid && first.pid != second.pid;
        if !is_kept || !is_own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Queries a session outside a transaction: a pooler can take the server's connection back after each statement.
fn session(conn: &mut PgConnection) -> QueryResult<Session> {
    let query = "SELECT pg_backend_pid() AS pid, coalesce(current_setting('gatepost.session', TRUE) = 'kept', FALSE) AS has_setting";
    diesel::sql_query(query).get_result(conn)
}

/// True if a notification that one connection sends reaches the other one.
fn hears(listener: &mut PgConnection, sender: &mut PgConnection) -> QueryResult<bool> {
    listener.batch_execute("LISTEN gatepost_check")?;
    sender.batch_execute("NOTIFY gatepost_check")?;
    for _ in 0..PATIENCE {
        // The server sends waiting notifications before it answers a statement.
        listener.batch_execute("SELECT")?;
        if listener.notifications_iter().any(|heard| heard.is_ok_and(|it| it.channel == "gatepost_check")) {
            return Ok(true);
        }
        thread::sleep(PAUSE);
    }
    Ok(false)
}

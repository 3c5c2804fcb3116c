//! Tells whether the database takes writes just now, and leaves nothing behind.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::Bool;

use crate::domain::Result;

/// Reason why the database takes no writes.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the database is read-only")]
    ReadOnly,
    #[error("the database cannot write to its disk: {0}")]
    Storage(String),
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
}

/// Spills some 100 kB into a temporary file, which needs room on the disk, as does a table that grows. A small row would
/// prove nothing: it fits into a page that its table has already. The file is gone with the statement, and the log of the
/// database gets nothing.
const SPILL: &str =
    "SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = ''; SELECT count(*) FROM generate_series(1, 8000)";

/// Runs in a transaction that can write. `None`: the database takes writes.
///
/// # Errors
/// `Unavailable` where the database does not answer.
pub fn refusal(conn: &mut PgConnection) -> Result<Option<Refusal>> {
    let session = "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only";
    if diesel::sql_query(session).get_result::<Session>(conn)?.is_read_only {
        return Ok(Some(Refusal::ReadOnly));
    }
    match conn.batch_execute(SPILL) {
        Ok(()) => Ok(None),
        Err(DieselError::DatabaseError(DatabaseErrorKind::Unknown, info)) => {
            Ok(Some(Refusal::Storage(info.message().to_owned())))
        }
        Err(error) => Err(error.into()),
    }
}

//! Test that the database takes writes at present, which leaves nothing behind.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_types::Bool;

use crate::domain::Result;

/// Reason why the database takes no writes.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The session or the server is read-only.
    #[error("the database is read-only")]
    ReadOnly,
    /// The server cannot write to its disk.
    #[error("the database cannot write to its disk: {0}")]
    Storage(String),
}

#[derive(QueryableByName)]
struct Session {
    #[diesel(sql_type = Bool)]
    is_read_only: bool,
}

/// SQL that spills some 100 kB into a temporary file. Like a growing table, the file needs room on the disk. A small
/// row would prove nothing, because it fits into a page that its table has already. The file is deleted with the
/// statement, and nothing goes into the write-ahead log.
const SPILL: &str =
    "SET LOCAL work_mem = '64kB'; SET LOCAL temp_tablespaces = ''; SELECT count(*) FROM generate_series(1, 8000)";

/// Tests the database in a writable transaction. Returns `None` if it takes writes.
///
/// # Errors
/// `Unavailable` if the database does not answer.
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

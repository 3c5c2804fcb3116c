//! Translation of database errors into errors of the product.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use super::write_probe::Refusal;
use crate::domain::Error;

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => {
                Self::Conflict(collision(info.constraint_name()))
            }
            DieselError::DatabaseError(_, info) if info.message().starts_with(TIMEOUT) => Self::StatementTimeout,
            _ if is_outage(&error) || lacks_role_or_partition(&error) => Self::unavailable(error),
            _ => Self::bug(error),
        }
    }
}

/// Start of the message about a statement that reached its time limit.
const TIMEOUT: &str = "canceling statement due to statement timeout";

/// True if the server refused a write because the session is read-only: on a standby, or by a default of the database.
pub fn is_read_only(error: &Error) -> bool {
    let Error::Unavailable(source) = error else { return false };
    if let Some(refusal) = source.downcast_ref() {
        return matches!(refusal, Refusal::ReadOnly);
    }
    match source.downcast_ref::<DieselError>() {
        Some(DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)) => true,
        Some(DieselError::DatabaseError(_, info)) => info.message().contains("during recovery"),
        _ => false,
    }
}

/// True if the same statement can succeed later: the server, its machine or the network failed.
fn is_outage(error: &DieselError) -> bool {
    match error {
        DieselError::BrokenTransactionManager => true,
        DieselError::RollbackErrorOnCommit { commit_error, rollback_error } => {
            is_outage(commit_error) || is_outage(rollback_error)
        }
        DieselError::DatabaseError(kind, info) => match kind {
            DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => true,
            DatabaseErrorKind::Unknown => {
                tells_of_outage(info.message()) || info.details().is_some_and(tells_of_outage)
            }
            _ => false,
        },
        _ => false,
    }
}

/// True if a message describes an outage. Diesel passes on the message but no SQLSTATE. The message is in English
/// (`store::connect`). It can quote client input, so only its start and its end are compared.
fn tells_of_outage(message: &str) -> bool {
    let message = message.trim_start_matches("ERROR:").trim_start_matches("FATAL:").trim();
    let end = message.trim_end_matches('.').to_lowercase();
    BEGINNINGS.iter().any(|sign| message.starts_with(sign)) || ENDINGS.iter().any(|sign| end.ends_with(sign))
}

/// Starts of messages about an outage, by SQLSTATE class.
const BEGINNINGS: [&str; 41] = [
    // 08: the connection, in the words of libpq and poolers
    "server closed the connection",
    "no connection to the server",
    "connection to server",
    "connection not open",
    "connection pointer is NULL",
    "could not receive data from server",
    "could not send data to server",
    "SSL connection has been closed",
    "SSL SYSCALL error",
    "SSL error:",
    "server conn crashed",
    "server login",
    "query_wait_timeout",
    "pgbouncer cannot connect to server",
    // 25: a session that was ended between two statements
    "terminating connection",
    // 40: a transaction that lost to another one
    "deadlock detected",
    "could not serialize access",
    "canceling statement due to",
    // 53: disk, memory and connections
    "could not extend file",
    "could not resize shared memory segment",
    "temporary file size exceeds",
    "out of memory",
    "out of shared memory",
    "out of background worker slots",
    "sorry, too many clients already",
    "too many connections for",
    "remaining connection slots are reserved",
    "no more connections allowed",
    // 54: transaction ids are used up until a vacuum
    "database is not accepting commands",
    // 55: locks
    "could not obtain lock on",
    // 57: starting, stopping and crashes
    "the database system is",
    // 58: input and output
    "could not fsync file",
    "could not read block",
    "could not read blocks",
    "could not write block",
    "could not write blocks",
    "could not write to file",
    "could not fork",
    "could not create shared memory segment",
    // XX: two changes of one catalog row at once
    "tuple concurrently updated",
    "tuple concurrently deleted",
];

/// Ends of messages about an outage, in lower case: a session that cannot write (25), and errors of the server's
/// operating system (53 and 58).
const ENDINGS: [&str; 16] = [
    " in a read-only transaction",
    " during recovery",
    " while recovery is in progress",
    ": no space left on device",
    "quota exceeded",
    ": input/output error",
    ": i/o error",
    ": read-only file system",
    ": stale file handle",
    ": cannot allocate memory",
    ": too many open files",
    ": too many open files in system",
    ": resource temporarily unavailable",
    ": device or resource busy",
    ": connection timed out",
    ": transport endpoint is not connected",
];

/// True if the database lacks what a start creates: the role `gatepost_app`, or a partition. A restore can lose both.
/// A failed check constraint has a name; a row without a partition fails with the same kind of error and has none.
pub(super) fn lacks_role_or_partition(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::CheckViolation, info) => info.constraint_name().is_none(),
        DieselError::DatabaseError(_, info) => info.message().contains("\"gatepost_app\""),
        _ => false,
    }
}

/// True if the role `gatepost_app` was refused something. This is a bug unless the role has lost rights.
pub(super) fn lacks_rights(error: &DieselError) -> bool {
    let DieselError::DatabaseError(_, info) = error else { return false };
    let message = info.message();
    message.starts_with("permission denied for")
        || message.starts_with("new row violates row-level security policy")
        || (message.starts_with("relation \"") && message.ends_with("\" does not exist"))
}

/// Message for a row that breaks a unique constraint.
fn collision(constraint: Option<&str>) -> String {
    match constraint {
        Some("tenants_slug_key") => "a tenant with this slug exists already",
        Some("api_keys_newest_of_lineage_key") => "this key was rotated already: rotate its successor",
        Some("users_email_key") => "a user with this e-mail address exists already",
        Some("memberships_tenant_id_user_id_key") => "this user is a member already",
        Some("idempotency_keys_tenant_id_route_key_key") => {
            "a request with this idempotency key is still being answered"
        }
        _ => "something with the same unique value exists already",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> Error {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())).into()
    }

    #[test]
    fn a_row_that_must_exist_and_does_not_is_a_bug_and_no_404() {
        assert!(matches!(Error::from(DieselError::NotFound), Error::Bug(_)));
    }

    #[test]
    fn messages_of_an_outage_are_unavailable() {
        for message in [
            "could not extend file \"base/16384/2619\": No space left on device",
            "could not extend file \"base/16384/2619\": wrote only 4096 of 8192 bytes at block 7",
            "could not write to file \"base/pgsql_tmp/pgsql_tmp1.0\": Disk quota exceeded",
            "Could not write to file \"pg_xact/0000\" at offset 8192: No space left on device.",
            "could not open file \"base/16384/2619\": Read-only file system",
            "could not open file \"base/16384/2619\": Too many open files in system",
            "could not read block 7 in file \"base/16384/2619\": Input/output error",
            "could not fsync file \"base/16384/2619\": Input/output error",
            "could not resize shared memory segment \"/PostgreSQL.7\" to 8 bytes: No space left on device",
            "temporary file size exceeds temp_file_limit (64kB)",
            "out of memory",
            "out of shared memory",
            "sorry, too many clients already",
            "too many connections for role \"gatepost\"",
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            "cannot execute INSERT in a read-only transaction",
            "cannot execute LISTEN during recovery",
            "cannot assign TransactionIds during recovery",
            "canceling statement due to lock timeout",
            "canceling statement due to user request",
            "could not obtain lock on row in relation \"api_keys\"",
            "deadlock detected",
            "terminating connection due to administrator command",
            "terminating connection because of crash of another server process",
            "the database system is in recovery mode",
            "the database system is not yet accepting connections",
            "database is not accepting commands that assign new transaction IDs to avoid wraparound data loss",
            "server closed the connection unexpectedly\n\tThis probably means",
            "SSL SYSCALL error: EOF detected",
        ] {
            assert!(matches!(said(message), Error::Unavailable(_)), "{message}");
        }
    }

    #[test]
    fn a_statement_timeout_has_its_own_error() {
        assert!(matches!(said("canceling statement due to statement timeout"), Error::StatementTimeout));
    }

    #[test]
    fn messages_that_quote_an_outage_are_bugs() {
        for message in [
            "invalid input syntax for type inet: \"deadlock detected\"",
            "column \"No space left on device\" does not exist",
            "relation \"usage_logs\" does not exist",
            "no partition of relation \"events\" found for row",
            "invalid byte sequence for encoding \"UTF8\": 0x00",
            "could not open file \"base/16384/2619\": No such file or directory",
            "permission denied for table api_keys",
            "cannot execute UPDATE during a parallel operation",
        ] {
            assert!(matches!(said(message), Error::Bug(_)), "{message}");
        }
    }

    #[test]
    fn a_commit_that_fails_in_an_outage_is_unavailable() {
        let closed =
            || Box::new(DieselError::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(String::new())));
        let error = DieselError::RollbackErrorOnCommit { rollback_error: closed(), commit_error: closed() };
        assert!(matches!(Error::from(error), Error::Unavailable(_)));
    }

    #[test]
    fn a_read_only_session_is_recognized() {
        let kind = DatabaseErrorKind::ReadOnlyTransaction;
        let refused = DieselError::DatabaseError(kind, Box::new("cannot execute INSERT".to_owned()));
        assert!(is_read_only(&refused.into()));
        assert!(is_read_only(&said("cannot execute LISTEN during recovery")));
        assert!(!is_read_only(&said("out of memory")));
    }
}

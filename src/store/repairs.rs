//! Repair of a database that turns out to lack something while requests run, done once for all requests that noticed
//! it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::error::{lacks_rights, lacks_role_or_partition};
use super::fitness;
use crate::domain::Error;

/// Counts the repairs made through one pool, and lets one request at a time repair.
#[derive(Default)]
pub struct Repairs {
    made: AtomicU64,
    turn: Mutex<()>,
}

/// Error of a transaction after which the database was repaired: another try can succeed.
#[derive(Debug, thiserror::Error)]
#[error("the database was repaired after: {0}")]
struct Repaired(Error);

/// True if the failed transaction can succeed when it runs again.
pub fn was_repaired(error: &Error) -> bool {
    matches!(error, Error::Unavailable(source) if source.is::<Repaired>())
}

impl Repairs {
    /// Returns the number of repairs so far. Read it before a transaction begins.
    pub fn seen(&self) -> u64 {
        // Acquire pairs with the Release below: a reader of the new number also sees the repaired state.
        self.made.load(Ordering::Acquire)
    }

    /// Repairs the database if that explains the error of a transaction, which is rolled back. Returns the error to
    /// report.
    pub fn after(&self, conn: &mut PgConnection, seen: u64, error: Error) -> Error {
        let (Error::Unavailable(source) | Error::Bug(source)) = &error else { return error };
        let Some(cause) = source.downcast_ref::<DieselError>() else { return error };
        let is_certain = lacks_role_or_partition(cause);
        if !is_certain && !lacks_rights(cause) {
            return error;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request repaired the database while this one failed or waited for its turn.
        if self.seen() != seen {
            return Error::unavailable(Repaired(error));
        }
        match fitness::repair(conn) {
            Ok(has_repaired) => {
                if has_repaired {
                    tracing::warn!(%cause, "the database lacked rights or partitions that requests need: they are created");
                    self.made.fetch_add(1, Ordering::Release);
                }
                if has_repaired || is_certain { Error::unavailable(Repaired(error)) } else { error }
            }
            Err(unfit) => {
                tracing::error!("{unfit}");
                Error::unavailable(unfit)
            }
        }
    }
}

//! Repairs a database that turns out to lack something while requests run, once for all requests that noticed it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use diesel::pg::PgConnection;
use diesel::result::Error as DieselError;

use super::error::{lacks_rights, lacks_role_or_partition};
use super::fitness;
use crate::domain::Error;

/// How often the database was repaired through one pool.
#[derive(Default)]
pub struct Repairs {
    made: AtomicU64,
    turn: Mutex<()>,
}

/// The database lacked something and has it now: another try can succeed.
#[derive(Debug, thiserror::Error)]
#[error("the database was repaired after: {0}")]
struct Repaired(Error);

/// True if the failed transaction can succeed when it runs again.
pub fn was_repaired(error: &Error) -> bool {
    matches!(error, Error::Unavailable(source) if source.is::<Repaired>())
}

impl Repairs {
    /// Repairs so far, to be read before a transaction begins.
    pub fn seen(&self) -> u64 {
        self.made.load(Ordering::Acquire)
    }

    /// Repairs the database if that explains the error of a transaction, which has been rolled back. Returns what to answer.
    pub fn after(&self, conn: &mut PgConnection, seen: u64, error: Error) -> Error {
        let (Error::Unavailable(source) | Error::Bug(source)) = &error else { return error };
        let Some(cause) = source.downcast_ref::<DieselError>() else { return error };
        let is_certain = lacks_role_or_partition(cause);
        if !is_certain && !lacks_rights(cause) {
            return error;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
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

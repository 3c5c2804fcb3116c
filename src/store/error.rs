//! What a database error means to the product.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::domain::Error;

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match &error {
            DieselError::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::UniqueViolation => Self::Conflict(collision(info.constraint_name())),
                DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ReadOnlyTransaction => Self::unavailable(error),
                _ if info.message().contains("statement timeout") => Self::StatementTimeout,
                _ if is_outage(info.message()) => Self::unavailable(error),
                _ => Self::bug(error),
            },
            DieselError::BrokenTransactionManager => Self::unavailable(error),
            _ => Self::bug(error),
        }
    }
}

/// libpq reports a server that goes away, starts up or shuts down as text only. Trying again helps.
fn is_outage(message: &str) -> bool {
    const SIGNS: [&str; 9] = [
        // Not an outage, but gone at the next try all the same.
        "deadlock detected",
        "server closed the connection",
        "terminating connection",
        "the database system is",
        "no connection to the server",
        "connection to server",
        "could not receive data from server",
        "could not send data to server",
        "remaining connection slots are reserved",
    ];
    SIGNS.iter().any(|sign| message.contains(sign))
}

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

    #[test]
    fn a_row_that_must_exist_and_does_not_is_a_bug_and_no_404() {
        assert!(matches!(Error::from(DieselError::NotFound), Error::Bug(_)));
    }
}

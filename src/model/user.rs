//! Rows of `users`, without the hash of the password, which only sign-in reads.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::UserId;
use crate::schema::users;

/// A user of the pages and the management API.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = users)]
pub struct User {
    /// Number of the row.
    pub id: UserId,
    /// E-mail address, in lower case.
    pub email: String,
    /// Full name.
    pub name: String,
    /// True for an operator of the whole instance.
    pub is_operator: bool,
    /// False if the account is disabled.
    pub is_active: bool,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last change (UTC).
    pub updated_at: DateTime<Utc>,
    /// False if the user joined by a link that the inviter could have used as well.
    pub is_email_confirmed: bool,
}

//! A row of `users`, without the password's hash, which only sign-in reads.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::UserId;
use crate::schema::users;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = users)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub is_operator: bool,
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// False where they joined by a link that whoever invited them could use too.
    pub is_email_confirmed: bool,
}

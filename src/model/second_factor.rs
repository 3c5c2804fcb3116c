//! A row of `second_factors`: an authenticator app of a user's.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::UserId;
use crate::schema::second_factors;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = second_factors)]
pub struct SecondFactor {
    pub user_id: UserId,
    /// Its secret, sealed with the master key.
    pub sealed: Vec<u8>,
    /// None while it is being set up.
    pub confirmed_at: Option<DateTime<Utc>>,
    pub last_step: i64,
    pub created_at: DateTime<Utc>,
    /// In a row, since the last right one.
    pub wrong_codes: i32,
    pub last_wrong_at: Option<DateTime<Utc>>,
}

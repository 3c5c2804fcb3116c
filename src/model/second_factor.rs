//! Rows of `second_factors`: authenticator apps of users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::UserId;
use crate::schema::second_factors;

/// A user's authenticator app.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = second_factors)]
pub struct SecondFactor {
    /// User that the app belongs to.
    pub user_id: UserId,
    /// Secret of the app, sealed with the master key.
    pub sealed: Vec<u8>,
    /// Time at which setup was finished (UTC); `None` before that.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Last 30-second step whose code was used.
    pub last_step: i64,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Wrong codes in a row since the last right one.
    pub wrong_codes: i32,
    /// Time of the last wrong code (UTC).
    pub last_wrong_at: Option<DateTime<Utc>>,
}

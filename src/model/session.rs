//! Rows of `sessions`: browsers of users who are signed in or about to sign in.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::UserId;
use crate::schema::sessions;

/// A browser session.
#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = sessions)]
pub struct Session {
    /// Number of the row.
    pub id: i64,
    /// User who is signed in; `None` before sign-in.
    pub user_id: Option<UserId>,
    /// Values of the session, as a JSON object.
    pub state: Value,
    /// Time of creation (UTC).
    pub created_at: DateTime<Utc>,
    /// Time of the last request, to within a minute (UTC).
    pub last_seen_at: DateTime<Utc>,
    /// End of the session (UTC) unless it is extended.
    pub expires_at: DateTime<Utc>,
}

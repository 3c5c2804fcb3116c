//! A row of `sessions`: somebody's signed-in browser, or one that has yet to sign in.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::UserId;
use crate::schema::sessions;

#[derive(Debug, Clone, HasQuery)]
#[diesel(table_name = sessions)]
pub struct Session {
    pub id: i64,
    pub user_id: Option<UserId>,
    pub state: Value,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

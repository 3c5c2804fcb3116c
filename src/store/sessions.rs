//! Queries on `sessions`, which are found by the digest of their key.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use serde_json::Value;

use crate::domain::{Result, UserId};
use crate::model::Session;
use crate::schema::sessions;

/// Finds a session that has not ended.
pub fn find_live(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<Option<Session>> {
    let found = Session::query().filter(sessions::key_digest.eq(digest)).filter(sessions::expires_at.gt(now));
    Ok(found.first(conn).optional()?)
}

/// True if a session has not ended.
pub fn is_live(conn: &mut PgConnection, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let live = sessions::table.filter(sessions::key_digest.eq(digest)).filter(sessions::expires_at.gt(now));
    Ok(diesel::select(diesel::dsl::exists(live)).get_result(conn)?)
}

/// Inserts a session.
pub fn insert(
    conn: &mut PgConnection,
    digest: &[u8],
    user: Option<UserId>,
    state: &Value,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    diesel::insert_into(sessions::table)
        .values((
            sessions::key_digest.eq(digest),
            sessions::user_id.eq(user),
            sessions::state.eq(state),
            sessions::created_at.eq(now),
            sessions::last_seen_at.eq(now),
            sessions::expires_at.eq(expires_at),
        ))
        .execute(conn)?;
    Ok(())
}

/// Stores the new state of a session, under a new key if `renewed` differs. Returns false if there is no such session.
/// One statement on one row: a sign-out runs before it or after it, and finds the row either way.
pub fn update_state(
    conn: &mut PgConnection,
    digest: &[u8],
    renewed: &[u8],
    user: Option<UserId>,
    state: &Value,
    now: DateTime<Utc>,
) -> Result<bool> {
    let live = sessions::table.filter(sessions::key_digest.eq(digest)).filter(sessions::expires_at.gt(now));
    let set = (sessions::key_digest.eq(renewed), sessions::user_id.eq(user), sessions::state.eq(state));
    Ok(diesel::update(live).set(set).execute(conn)? == 1)
}

/// Extends a session by `idle`, up to `absolute` after its start. It writes at most once a minute, so page views are
/// cheap.
pub fn touch(
    conn: &mut PgConnection,
    digest: &[u8],
    now: DateTime<Utc>,
    idle: TimeDelta,
    absolute: TimeDelta,
) -> Result<()> {
    use diesel::dsl::sql;
    use diesel::sql_types::{Interval, Timestamptz};
    let end = sql::<Timestamptz>("least(")
        .bind::<Timestamptz, _>(now + idle)
        .sql(", created_at + ")
        .bind::<Interval, _>(absolute)
        .sql(")");
    diesel::update(sessions::table)
        .filter(sessions::key_digest.eq(digest))
        .filter(sessions::expires_at.gt(now))
        .filter(sessions::last_seen_at.lt(now - TimeDelta::minutes(1)))
        .set((sessions::last_seen_at.eq(now), sessions::expires_at.eq(end)))
        .execute(conn)?;
    Ok(())
}

/// Deletes a session.
pub fn delete(conn: &mut PgConnection, digest: &[u8]) -> Result<()> {
    diesel::delete(sessions::table.filter(sessions::key_digest.eq(digest))).execute(conn)?;
    Ok(())
}

/// Deletes all sessions of a user, and returns their number.
pub fn delete_of_user(conn: &mut PgConnection, user: UserId) -> Result<usize> {
    Ok(diesel::delete(sessions::table.filter(sessions::user_id.eq(user))).execute(conn)?)
}

/// Lists the live sessions of a user, the last seen first.
pub fn list_of_user(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<Vec<Session>> {
    let live = Session::query().filter(sessions::user_id.eq(user)).filter(sessions::expires_at.gt(now));
    Ok(live.order(sessions::last_seen_at.desc()).load(conn)?)
}

/// Lists all sessions of a user, ended ones included.
pub fn list_all_of_user(conn: &mut PgConnection, user: UserId) -> Result<Vec<Session>> {
    Ok(Session::query().filter(sessions::user_id.eq(user)).load(conn)?)
}

/// Deletes one session of a user. Returns true if the user had it.
pub fn delete_one(conn: &mut PgConnection, user: UserId, id: i64) -> Result<bool> {
    Ok(delete_many(conn, user, &[id])? == 1)
}

/// Deletes those of these sessions that belong to the user, and returns their number.
pub fn delete_many(conn: &mut PgConnection, user: UserId, ids: &[i64]) -> Result<usize> {
    let chosen = sessions::table.filter(sessions::user_id.eq(user)).filter(sessions::id.eq_any(ids));
    Ok(diesel::delete(chosen).execute(conn)?)
}

/// Deletes up to `limit` sessions that have ended, and returns their number.
pub fn delete_ended(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<usize> {
    let others = diesel::alias!(sessions as others);
    let ended =
        others.filter(others.field(sessions::expires_at).le(now)).select(others.field(sessions::id)).limit(limit);
    Ok(diesel::delete(sessions::table).filter(sessions::id.eq_any(ended)).execute(conn)?)
}

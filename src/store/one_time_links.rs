//! Queries on `one_time_links`, which are found by the digest of their secret.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, UserId};
use crate::schema::one_time_links;

/// Adds a link for a purpose, without a user.
pub fn insert(
    conn: &mut PgConnection,
    purpose: &str,
    digest: &[u8],
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    let row = (
        one_time_links::purpose.eq(purpose),
        one_time_links::digest.eq(digest),
        one_time_links::created_at.eq(now),
        one_time_links::expires_at.eq(expires_at),
    );
    diesel::insert_into(one_time_links::table).values(row).execute(conn)?;
    Ok(())
}

/// Origin of a link that is for one user.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// The user requested it for themselves.
    Requested,
    /// An operator created it, or the console (`None`).
    Made(Option<UserId>),
}

/// Adds a link for one user.
pub fn insert_for(
    conn: &mut PgConnection,
    purpose: &str,
    digest: &[u8],
    (user, origin): (UserId, Origin),
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<()> {
    let (is_asked_for, created_by) = match origin {
        Origin::Requested => (true, None),
        Origin::Made(creator) => (false, creator),
    };
    let row = (
        one_time_links::is_asked_for.eq(is_asked_for),
        one_time_links::created_by.eq(created_by),
        one_time_links::purpose.eq(purpose),
        one_time_links::digest.eq(digest),
        one_time_links::user_id.eq(user),
        one_time_links::created_at.eq(now),
        one_time_links::expires_at.eq(expires_at),
    );
    diesel::insert_into(one_time_links::table).values(row).execute(conn)?;
    Ok(())
}

/// Finds a link that can still be used. Returns its user, and the user who created it, if any.
pub fn find_live(
    conn: &mut PgConnection,
    purpose: &str,
    digest: &[u8],
    now: DateTime<Utc>,
) -> Result<Option<(UserId, Option<UserId>)>> {
    let live = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::digest.eq(digest))
        .filter(one_time_links::used_at.is_null())
        .filter(one_time_links::expires_at.gt(now))
        .select((one_time_links::user_id, one_time_links::created_by));
    let found: Option<(Option<UserId>, Option<UserId>)> = live.first(conn).optional()?;
    Ok(found.and_then(|(user, creator)| user.map(|user| (user, creator))))
}

/// Deletes the unused links that this user created, for any user and purpose.
pub fn delete_unused_by(conn: &mut PgConnection, creator: UserId) -> Result<()> {
    let unused =
        one_time_links::table.filter(one_time_links::created_by.eq(creator)).filter(one_time_links::used_at.is_null());
    diesel::delete(unused).execute(conn)?;
    Ok(())
}

/// Deletes the unused links of a user for a purpose.
pub fn delete_unused_of(conn: &mut PgConnection, purpose: &str, user: UserId) -> Result<()> {
    let unused = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::user_id.eq(user))
        .filter(one_time_links::used_at.is_null());
    diesel::delete(unused).execute(conn)?;
    Ok(())
}

/// Deletes the unused links of a user for a purpose that the user did not request.
pub fn delete_unused_not_asked_for(conn: &mut PgConnection, purpose: &str, user: UserId) -> Result<()> {
    let unused = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::user_id.eq(user))
        .filter(one_time_links::is_asked_for.eq(false))
        .filter(one_time_links::used_at.is_null());
    diesel::delete(unused).execute(conn)?;
    Ok(())
}

/// Counts the links that a user requested and that can still be used.
pub fn count_asked_for(conn: &mut PgConnection, purpose: &str, user: UserId, now: DateTime<Utc>) -> Result<i64> {
    let live = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::user_id.eq(user))
        .filter(one_time_links::is_asked_for.eq(true))
        .filter(one_time_links::used_at.is_null())
        .filter(one_time_links::expires_at.gt(now));
    Ok(live.count().get_result(conn)?)
}

/// True if a link can still be used.
pub fn is_live(conn: &mut PgConnection, purpose: &str, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let live = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::digest.eq(digest))
        .filter(one_time_links::used_at.is_null())
        .filter(one_time_links::expires_at.gt(now));
    Ok(diesel::select(diesel::dsl::exists(live)).get_result(conn)?)
}

/// Uses up a link. Of several concurrent calls, one succeeds.
pub fn redeem(conn: &mut PgConnection, purpose: &str, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let live = one_time_links::table
        .filter(one_time_links::purpose.eq(purpose))
        .filter(one_time_links::digest.eq(digest))
        .filter(one_time_links::used_at.is_null())
        .filter(one_time_links::expires_at.gt(now));
    Ok(diesel::update(live).set(one_time_links::used_at.eq(now)).execute(conn)? == 1)
}

/// Deletes the unused links for a purpose.
pub fn delete_unused(conn: &mut PgConnection, purpose: &str) -> Result<()> {
    let unused =
        one_time_links::table.filter(one_time_links::purpose.eq(purpose)).filter(one_time_links::used_at.is_null());
    diesel::delete(unused).execute(conn)?;
    Ok(())
}

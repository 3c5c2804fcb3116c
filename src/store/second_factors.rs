//! Queries on `second_factors` and `recovery_codes`, which belong to users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, UserId};
use crate::model::SecondFactor;
use crate::schema::{recovery_codes, second_factors};

pub fn find(conn: &mut PgConnection, user: UserId) -> Result<Option<SecondFactor>> {
    Ok(SecondFactor::query().find(user).first(conn).optional()?)
}

/// The same, while nobody else judges a code of it.
pub fn lock(conn: &mut PgConnection, user: UserId) -> Result<Option<SecondFactor>> {
    let found = SecondFactor::query().filter(second_factors::user_id.eq(user));
    Ok(found.for_update().first(conn).optional()?)
}

pub fn count_wrong_code(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let set = (second_factors::wrong_codes.eq(second_factors::wrong_codes + 1), second_factors::last_wrong_at.eq(now));
    diesel::update(second_factors::table.filter(second_factors::user_id.eq(user))).set(set).execute(conn)?;
    Ok(())
}

pub fn forgive_wrong_codes(conn: &mut PgConnection, user: UserId) -> Result<()> {
    let mine = second_factors::table.filter(second_factors::user_id.eq(user));
    diesel::update(mine).set(second_factors::wrong_codes.eq(0)).execute(conn)?;
    Ok(())
}

/// Those of these users who have a confirmed one.
pub fn confirmed_of(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<UserId>> {
    let confirmed = second_factors::table
        .filter(second_factors::user_id.eq_any(users))
        .filter(second_factors::confirmed_at.is_not_null());
    Ok(confirmed.select(second_factors::user_id).load(conn)?)
}

/// In the place of one that was never confirmed; whether there was no confirmed one.
pub fn begin(conn: &mut PgConnection, user: UserId, sealed: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let unconfirmed =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::confirmed_at.is_null());
    diesel::delete(unconfirmed).execute(conn)?;
    let row = (second_factors::user_id.eq(user), second_factors::sealed.eq(sealed), second_factors::created_at.eq(now));
    let made = diesel::insert_into(second_factors::table).values(row).on_conflict_do_nothing();
    Ok(made.execute(conn)? == 1)
}

/// Takes a step's code; of several who present the same one, one succeeds. A newer one is never followed by an older.
pub fn take_step(conn: &mut PgConnection, user: UserId, step: i64) -> Result<bool> {
    let earlier =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::last_step.lt(step));
    Ok(diesel::update(earlier).set(second_factors::last_step.eq(step)).execute(conn)? == 1)
}

/// Whether it was unconfirmed until now.
pub fn confirm(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<bool> {
    let unconfirmed =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::confirmed_at.is_null());
    Ok(diesel::update(unconfirmed).set(second_factors::confirmed_at.eq(now)).execute(conn)? == 1)
}

/// With its recovery codes. Whether there was one.
pub fn delete(conn: &mut PgConnection, user: UserId) -> Result<bool> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user))).execute(conn)?;
    Ok(diesel::delete(second_factors::table.filter(second_factors::user_id.eq(user))).execute(conn)? == 1)
}

/// In the place of those that were.
pub fn replace_codes(conn: &mut PgConnection, user: UserId, digests: &[[u8; 32]], now: DateTime<Utc>) -> Result<()> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user))).execute(conn)?;
    let rows = digests.iter().map(|digest| {
        (
            recovery_codes::user_id.eq(user),
            recovery_codes::digest.eq(digest.as_slice()),
            recovery_codes::created_at.eq(now),
        )
    });
    diesel::insert_into(recovery_codes::table).values(rows.collect::<Vec<_>>()).execute(conn)?;
    Ok(())
}

/// Uses a recovery code up; of several who present the same one, one succeeds.
pub fn redeem_code(conn: &mut PgConnection, user: UserId, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let unused = recovery_codes::table
        .filter(recovery_codes::user_id.eq(user))
        .filter(recovery_codes::digest.eq(digest))
        .filter(recovery_codes::used_at.is_null());
    Ok(diesel::update(unused).set(recovery_codes::used_at.eq(now)).execute(conn)? == 1)
}

pub fn count_codes(conn: &mut PgConnection, user: UserId) -> Result<i64> {
    let unused = recovery_codes::table.filter(recovery_codes::user_id.eq(user));
    Ok(unused.filter(recovery_codes::used_at.is_null()).count().get_result(conn)?)
}

//! Queries on `second_factors` and `recovery_codes`, which belong to users.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, UserId};
use crate::model::SecondFactor;
use crate::schema::{recovery_codes, second_factors};

/// Finds the second factor of a user.
pub fn find(conn: &mut PgConnection, user: UserId) -> Result<Option<SecondFactor>> {
    Ok(SecondFactor::query().find(user).first(conn).optional()?)
}

/// Finds the second factor of a user and locks it: until this transaction ends, no other checks a code of it.
pub fn lock(conn: &mut PgConnection, user: UserId) -> Result<Option<SecondFactor>> {
    let found = SecondFactor::query().filter(second_factors::user_id.eq(user));
    Ok(found.for_update().first(conn).optional()?)
}

/// Counts one wrong code.
pub fn count_wrong_code(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let set = (second_factors::wrong_codes.eq(second_factors::wrong_codes + 1), second_factors::last_wrong_at.eq(now));
    diesel::update(second_factors::table.filter(second_factors::user_id.eq(user))).set(set).execute(conn)?;
    Ok(())
}

/// Resets the count of wrong codes.
pub fn forgive_wrong_codes(conn: &mut PgConnection, user: UserId) -> Result<()> {
    let mine = second_factors::table.filter(second_factors::user_id.eq(user));
    diesel::update(mine).set(second_factors::wrong_codes.eq(0)).execute(conn)?;
    Ok(())
}

/// Returns those of these users who have a confirmed second factor.
pub fn confirmed_of(conn: &mut PgConnection, users: &[UserId]) -> Result<Vec<UserId>> {
    let confirmed = second_factors::table
        .filter(second_factors::user_id.eq_any(users))
        .filter(second_factors::confirmed_at.is_not_null());
    Ok(confirmed.select(second_factors::user_id).load(conn)?)
}

/// Adds an unconfirmed second factor, and replaces an earlier one that was never confirmed. Returns false if the user
/// has a confirmed one.
pub fn begin(conn: &mut PgConnection, user: UserId, sealed: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let unconfirmed =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::confirmed_at.is_null());
    diesel::delete(unconfirmed).execute(conn)?;
    let row = (second_factors::user_id.eq(user), second_factors::sealed.eq(sealed), second_factors::created_at.eq(now));
    let made = diesel::insert_into(second_factors::table).values(row).on_conflict_do_nothing();
    Ok(made.execute(conn)? == 1)
}

/// Uses up the code of a time step, so that no code of this step or an earlier one is accepted again. Of several
/// concurrent calls, one succeeds.
pub fn take_step(conn: &mut PgConnection, user: UserId, step: i64) -> Result<bool> {
    let earlier =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::last_step.lt(step));
    Ok(diesel::update(earlier).set(second_factors::last_step.eq(step)).execute(conn)? == 1)
}

/// Confirms a second factor. Returns true if it was unconfirmed until now.
pub fn confirm(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<bool> {
    let unconfirmed =
        second_factors::table.filter(second_factors::user_id.eq(user)).filter(second_factors::confirmed_at.is_null());
    Ok(diesel::update(unconfirmed).set(second_factors::confirmed_at.eq(now)).execute(conn)? == 1)
}

/// Deletes the second factor of a user and its recovery codes. Returns true if there was one.
pub fn delete(conn: &mut PgConnection, user: UserId) -> Result<bool> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(user))).execute(conn)?;
    Ok(diesel::delete(second_factors::table.filter(second_factors::user_id.eq(user))).execute(conn)? == 1)
}

/// Replaces all recovery codes.
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

/// Uses up a recovery code. Of several concurrent calls, one succeeds.
pub fn redeem_code(conn: &mut PgConnection, user: UserId, digest: &[u8], now: DateTime<Utc>) -> Result<bool> {
    let unused = recovery_codes::table
        .filter(recovery_codes::user_id.eq(user))
        .filter(recovery_codes::digest.eq(digest))
        .filter(recovery_codes::used_at.is_null());
    Ok(diesel::update(unused).set(recovery_codes::used_at.eq(now)).execute(conn)? == 1)
}

/// Counts the unused recovery codes of a user.
pub fn count_codes(conn: &mut PgConnection, user: UserId) -> Result<i64> {
    let unused = recovery_codes::table.filter(recovery_codes::user_id.eq(user));
    Ok(unused.filter(recovery_codes::used_at.is_null()).count().get_result(conn)?)
}

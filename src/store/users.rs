//! Queries on `users`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::page::Paging;
use crate::domain::{Result, UserId, email};
use crate::model::User;
use crate::schema::users;
use crate::store::search::contain;

/// A user to insert.
pub struct NewUser<'a> {
    /// E-mail address, in its stored spelling.
    pub email: &'a str,
    /// Full name.
    pub name: &'a str,
    /// Argon2id hash of the password.
    pub password_hash: &'a str,
    /// True for an operator of the instance.
    pub is_operator: bool,
    /// True if the user has shown that the address is theirs.
    pub is_email_confirmed: bool,
}

/// Inserts a user and returns the row.
pub fn insert(conn: &mut PgConnection, user: &NewUser<'_>, now: DateTime<Utc>) -> Result<User> {
    let row = (
        users::email.eq(user.email),
        users::name.eq(user.name),
        users::password_hash.eq(user.password_hash),
        users::is_operator.eq(user.is_operator),
        users::is_email_confirmed.eq(user.is_email_confirmed),
        users::created_at.eq(now),
        users::updated_at.eq(now),
    );
    Ok(diesel::insert_into(users::table).values(row).returning(User::as_returning()).get_result(conn)?)
}

/// Records that a user has shown that their e-mail address is theirs.
pub fn confirm_email(conn: &mut PgConnection, user: UserId) -> Result<()> {
    diesel::update(users::table.find(user)).set(users::is_email_confirmed.eq(true)).execute(conn)?;
    Ok(())
}

/// Finds a user.
pub fn find(conn: &mut PgConnection, user: UserId) -> Result<Option<User>> {
    Ok(User::query().filter(users::id.eq(user)).first(conn).optional()?)
}

/// Finds a user by e-mail address.
pub fn find_by_email(conn: &mut PgConnection, email: &str) -> Result<Option<User>> {
    Ok(User::query().filter(users::email.eq(email)).first(conn).optional()?)
}

/// Finds a user with the hash of their password, for sign-in only.
pub fn find_with_password(conn: &mut PgConnection, email: &str) -> Result<Option<(User, String)>> {
    let found = users::table.filter(users::email.eq(email)).select((User::as_select(), users::password_hash));
    Ok(found.first(conn).optional()?)
}

/// Lists users, newest first; oldest first if `paging.after` is set. `search` filters by name or e-mail address.
pub fn search(conn: &mut PgConnection, search: Option<&str>, paging: &Paging<UserId>) -> Result<Vec<User>> {
    let mut query = users::table.select(User::as_select()).limit(paging.size.plus_one()).into_boxed();
    if let Some(search) = search {
        let address = contain("users.email", &email::search(search));
        query = query.filter(contain("users.email, users.name", search).or(address));
    }
    if let Some(before) = paging.before {
        query = query.filter(users::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(users::id.gt(after)).order(users::id.asc()),
        None => query.order(users::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Locks these users, always ordered by id: until this transaction ends, no other changes their rights or password.
pub fn lock(conn: &mut PgConnection, ids: &[UserId]) -> Result<()> {
    let these = users::table.filter(users::id.eq_any(ids)).order(users::id).select(users::id);
    these.for_no_key_update().load::<UserId>(conn)?;
    Ok(())
}

/// Locks and returns all active operators: until this transaction ends, no other changes one.
pub fn lock_operators(conn: &mut PgConnection) -> Result<Vec<UserId>> {
    let all = users::table.filter(users::is_operator).filter(users::is_active).order(users::id).select(users::id);
    Ok(all.for_update().load(conn)?)
}

/// Counts all users.
pub fn count(conn: &mut PgConnection) -> Result<i64> {
    Ok(users::table.count().get_result(conn)?)
}

/// Changes a user and returns the new row.
pub fn update(
    conn: &mut PgConnection,
    user: UserId,
    name: &str,
    (is_active, is_operator): (bool, bool),
    now: DateTime<Utc>,
) -> Result<Option<User>> {
    let set = (
        users::name.eq(name),
        users::is_active.eq(is_active),
        users::is_operator.eq(is_operator),
        users::updated_at.eq(now),
    );
    let changed = diesel::update(users::table.filter(users::id.eq(user))).set(set);
    Ok(changed.returning(User::as_returning()).get_result(conn).optional()?)
}

/// Sets a user's password. `is_short` marks one that is long enough only with a second factor. Returns false without
/// such a user.
pub fn update_password(
    conn: &mut PgConnection,
    user: UserId,
    hash: &str,
    is_short: bool,
    now: DateTime<Utc>,
) -> Result<bool> {
    let set = (users::password_hash.eq(hash), users::has_short_password.eq(is_short), users::updated_at.eq(now));
    Ok(diesel::update(users::table.filter(users::id.eq(user))).set(set).execute(conn)? == 1)
}

/// Locks a user and returns true if their password is long enough only with a second factor.
pub fn lock_has_short_password(conn: &mut PgConnection, user: UserId) -> Result<bool> {
    let found = users::table.filter(users::id.eq(user)).select(users::has_short_password).for_update();
    Ok(found.first(conn).optional()?.unwrap_or(false))
}

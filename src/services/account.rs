//! Acts of people on their own account: name, password and sessions.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::Value;

use super::accounts::{self, NewPassword};
use super::audit::{self, AuditedAct};
use super::links::digest;
use super::{Operator, random_token};
use crate::domain::{Error, Noun, Result, UserId, text};
use crate::model::{Session, User};
use crate::store::notify::Change;
use crate::store::one_time_links::Origin;
use crate::store::{self, Tx};

const RESET: &str = "password_reset";
const RESET_LINK_LIVES: chrono::TimeDelta = chrono::TimeDelta::hours(24);
/// Maximum number of live reset links that one user can request.
const MOST_ASKED_FOR: i64 = 3;

/// Names of session entries that describe a sign-in. `handle` identifies a session among its user's; it grants no
/// access.
pub const HANDLE: &str = "handle";
pub const DEVICE: &str = "device";
pub const ADDRESS: &str = "address";

/// Session of a signed-in user, as the account page shows it.
#[derive(Debug, Clone)]
pub struct UserSession {
    /// Id of the session's row.
    pub id: i64,
    /// True for the session that makes this request.
    pub is_here: bool,
    /// `User-Agent` header of the browser.
    pub device: String,
    /// IP address at sign-in.
    pub address: String,
    pub since: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
}

impl UserSession {
    fn of(row: Session, here: &str) -> Self {
        Self {
            id: row.id,
            is_here: entry(&row.state, HANDLE) == here,
            device: entry(&row.state, DEVICE),
            address: entry(&row.state, ADDRESS),
            since: row.created_at,
            last_seen: row.last_seen_at,
        }
    }
}

/// Reads an entry of a session's state. Each entry is JSON inside a JSON string.
fn entry(state: &Value, name: &str) -> String {
    let text = state.get(name).and_then(Value::as_str).unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// Lists a user's sessions, most recent first. `here` is the handle of the current session.
pub fn places(tx: &mut Tx<'_>, user: UserId, here: &str) -> Result<Vec<UserSession>> {
    let now = tx.now;
    let rows = store::sessions::list_of_user(tx, user, now)?;
    Ok(rows.into_iter().map(|row| UserSession::of(row, here)).collect())
}

/// Ends one session of a user. Returns false if it had ended already.
pub fn sign_out(tx: &mut Tx<'_>, who: &Operator, user: UserId, id: i64) -> Result<bool> {
    let ended = store::sessions::delete_one(tx, user, id)?;
    if ended {
        audit::record_for_instance(tx, who, None, signed_out(user, 1))?;
    }
    Ok(ended)
}

/// Ends all sessions of a user except `here`. Returns their number.
pub fn sign_out_elsewhere(tx: &mut Tx<'_>, who: &Operator, user: UserId, here: &str) -> Result<usize> {
    let ended = end_others(tx, user, here)?;
    if 0 < ended {
        audit::record_for_instance(tx, who, None, signed_out(user, ended))?;
    }
    Ok(ended)
}

fn end_others(conn: &mut PgConnection, user: UserId, here: &str) -> Result<usize> {
    end_where(conn, user, |handle| handle != here)
}

/// Returns true if the user has a live session with this handle, even if its session key has changed. `handle` is the
/// entry as the session's state holds it.
pub fn is_signed_in(tx: &mut Tx<'_>, user: Option<UserId>, handle: Option<&Value>) -> Result<bool> {
    let now = tx.now;
    let (Some(user), Some(handle)) = (user, handle) else { return Ok(false) };
    let rows = store::sessions::list_of_user(tx, user, now)?;
    Ok(rows.iter().any(|row| row.state.get(HANDLE) == Some(handle)))
}

/// Refuses an act if its session ended after the request loaded it. Locks the user, so that the session cannot end
/// until COMMIT. An act that ends access later then sees what this transaction made. Runs in `Scope::Instance`.
pub fn must_be_signed_in(tx: &mut Tx<'_>, user: UserId, here: &str) -> Result<()> {
    let now = tx.now;
    store::users::lock(tx, &[user])?;
    let lives = store::sessions::list_of_user(tx, user, now)?.iter().any(|row| entry(&row.state, HANDLE) == here);
    if lives { Ok(()) } else { Err(Error::Unauthenticated) }
}

/// Ends the current session, even if its session key has changed meanwhile.
pub fn leave(conn: &mut PgConnection, user: UserId, here: &str) -> Result<usize> {
    end_where(conn, user, |handle| handle == here)
}

/// Expired sessions are included: a concurrent request may be about to prolong one.
fn end_where(conn: &mut PgConnection, user: UserId, is_meant: impl Fn(&str) -> bool) -> Result<usize> {
    let all = store::sessions::list_all_of_user(conn, user)?;
    let meant: Vec<i64> = all.iter().filter(|row| is_meant(&entry(&row.state, HANDLE))).map(|row| row.id).collect();
    store::sessions::delete_many(conn, user, &meant)
}

fn signed_out(user: UserId, sessions: usize) -> AuditedAct {
    AuditedAct::new("user.signed_out", target(user)).with("sessions_ended", sessions)
}

pub fn rename(tx: &mut Tx<'_>, who: &Operator, user: UserId, name: &str) -> Result<User> {
    let name = text::name(name).map_err(|rejection| Error::field("name", rejection))?;
    accounts::update(tx, who, user, accounts::UserChange { name: Some(name), ..Default::default() })
}

/// Sets a new password for a person who has proven the present one. Ends their other sessions, all their access
/// tokens, and links that set a password.
pub fn change_password(tx: &mut Tx<'_>, who: &Operator, user: UserId, new: &NewPassword, here: &str) -> Result<()> {
    accounts::write_password(tx, user, new)?;
    let ended = end_access(tx, user, Some(here))?;
    audit::record_for_instance(tx, who, None, ended.noted(AuditedAct::new("user.password_changed", target(user))))
}

/// Numbers of sessions and access tokens that ended because a sign-in became stronger.
pub(super) struct EndedAccess {
    sessions: usize,
    tokens: usize,
}

impl EndedAccess {
    pub(super) fn noted(&self, deed: AuditedAct) -> AuditedAct {
        deed.with("sessions_ended", self.sessions).with("tokens_revoked", self.tokens)
    }
}

/// Ends all access that an earlier, weaker sign-in opened: every session but `here`, every access token, and
/// reset links for this person or made by them.
pub(super) fn end_access(tx: &mut Tx<'_>, user: UserId, here: Option<&str>) -> Result<EndedAccess> {
    let now = tx.now;
    let sessions = match here {
        Some(here) => end_others(tx, user, here)?,
        None => store::sessions::delete_of_user(tx, user)?,
    };
    let tokens = store::access_tokens::revoke_of_user(tx, user, now)?;
    end_resets(tx, user)?;
    store::one_time_links::delete_unused_by(tx, user)?;
    tx.announce(Change::Access);
    Ok(EndedAccess { sessions, tokens })
}

/// Ends access that a password alone opened: tokens made by sign-ins, and links that would set a password.
pub(super) fn end_logins(tx: &mut Tx<'_>, user: UserId) -> Result<usize> {
    let now = tx.now;
    let tokens = store::access_tokens::revoke_of_logins(tx, user, now)?;
    end_resets(tx, user)?;
    tx.announce(Change::Access);
    Ok(tokens)
}

/// Deletes all unused links that would set this user's password.
pub(super) fn end_resets(conn: &mut PgConnection, user: UserId) -> Result<()> {
    store::one_time_links::delete_unused_of(conn, RESET, user)
}

/// Returns true if this creator can make reset links today: an active operator, or the console (`None`).
pub(super) fn may_reset(conn: &mut PgConnection, creator: Option<UserId>) -> Result<bool> {
    let Some(creator) = creator else { return Ok(true) };
    Ok(store::users::find(conn, creator)?.is_some_and(|user| user.is_active && user.is_operator))
}

/// Makes a reset link's token for an operator to hand over. It works once, within a day. Earlier links made by
/// operators stop working; links that the user requested stay.
pub fn offer_reset(tx: &mut Tx<'_>, who: &Operator, user: UserId) -> Result<String> {
    who.must_be_another(user)?;
    // A demotion of the creator takes the same lock, so the two run one after the other.
    store::users::lock(tx, &[Some(user), who.user].into_iter().flatten().collect::<Vec<_>>())?;
    if !may_reset(tx, who.user)? {
        return Err(Error::forbidden("only operators can do this"));
    }
    store::one_time_links::delete_unused_not_asked_for(tx, RESET, user)?;
    make_reset(tx, who, user, Origin::Made(who.user))
}

/// Makes a reset link's token for a requested password reset. Any caller can request one, so it ends no other link,
/// and the number of live links is capped.
pub fn ask_reset(tx: &mut Tx<'_>, who: &Operator, user: UserId) -> Result<String> {
    let now = tx.now;
    // Concurrent requests are counted one after the other.
    store::users::lock_has_short_password(tx, user)?;
    if MOST_ASKED_FOR <= store::one_time_links::count_asked_for(tx, RESET, user, now)? {
        return Err(Error::conflict("too many links were requested: wait until one expires"));
    }
    make_reset(tx, who, user, Origin::Requested)
}

fn make_reset(tx: &mut Tx<'_>, who: &Operator, user: UserId, origin: Origin) -> Result<String> {
    let now = tx.now;
    let user = accounts::find(tx, user)?;
    if !user.is_active {
        return Err(Error::conflict("this user is deactivated: activate them first"));
    }
    let token = random_token()?;
    let expires_at = now + RESET_LINK_LIVES;
    store::one_time_links::insert_for(tx, RESET, &digest(&token), (user.id, origin), now, expires_at)?;
    let deed = AuditedAct::new("user.reset_link_made", target(user.id)).with("name", user.email.as_str());
    audit::record_for_instance(tx, who, None, deed)?;
    Ok(token)
}

/// Returns the user whose password a link resets.
pub fn reset_offered(tx: &mut Tx<'_>, token: &str) -> Result<User> {
    let now = tx.now;
    let found = store::one_time_links::find_live(tx, RESET, &digest(token), now)?;
    backed(tx, found)?.ok_or(Error::NotFound(Noun::ResetLink))
}

pub(super) fn is_reset_usable(tx: &mut Tx<'_>, digest: &[u8]) -> Result<bool> {
    let now = tx.now;
    let found = store::one_time_links::find_live(tx, RESET, digest, now)?;
    Ok(backed(tx, found)?.is_some())
}

/// Returns the user of a link if they are active and the link's creator still has the right to make it.
fn backed(conn: &mut PgConnection, link: Option<(UserId, Option<UserId>)>) -> Result<Option<User>> {
    let Some((user, creator)) = link else { return Ok(None) };
    if !may_reset(conn, creator)? {
        return Ok(None);
    }
    Ok(store::users::find(conn, user)?.filter(|user| user.is_active))
}

/// Redeems a link: sets the new password and ends all sessions of the user.
pub fn reset_password(tx: &mut Tx<'_>, who: &Operator, token: &str, new: &NewPassword) -> Result<User> {
    let now = tx.now;
    let digest = digest(token);
    let link = store::one_time_links::find_live(tx, RESET, &digest, now)?;
    // A demotion of the creator takes the same lock, so the two run one after the other.
    if let Some((user, creator)) = link {
        store::users::lock(tx, &[Some(user), creator].into_iter().flatten().collect::<Vec<_>>())?;
    }
    let user = backed(tx, link)?.ok_or(Error::NotFound(Noun::ResetLink))?;
    if !store::one_time_links::redeem(tx, RESET, &digest, now)? {
        return Err(Error::NotFound(Noun::ResetLink));
    }
    let who = Operator { user: Some(user.id), label: user.email.clone(), ..who.clone() };
    accounts::set_password(tx, &who, user.id, new)?;
    // The link came by mail or from an operator, so the address is theirs.
    store::users::confirm_email(tx, user.id)?;
    Ok(user)
}

fn target(user: UserId) -> String {
    format!("user:{user}")
}

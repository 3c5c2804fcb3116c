//! The second factor of sign-in: an authenticator app, and recovery codes for those who lost it. Runs in `Scope::Instance`.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::audit::{self, Deed};
use super::{Operator, account};
use crate::domain::password;
use crate::domain::totp::{self, Authenticator, RECOVERY_CODES};
use crate::domain::vault::Vault;
use crate::domain::{Error, Rejection, Result, TenantId, UserId};
use crate::model::{SecondFactor, User};
use crate::store::{self, Tx};

/// People are of no tenant.
const NOBODYS: TenantId = TenantId(0);

/// How far somebody has come with it.
pub enum Standing {
    Off,
    /// Shown to them, and not confirmed by a code yet.
    SettingUp(Authenticator),
    On {
        since: DateTime<Utc>,
        /// Recovery codes that were not used yet.
        codes: i64,
    },
}

pub fn standing(conn: &mut PgConnection, vault: &Vault, user: &User) -> Result<Standing> {
    Ok(match store::second_factors::find(conn, user.id)? {
        None => Standing::Off,
        Some(SecondFactor { confirmed_at: Some(since), .. }) => {
            Standing::On { since, codes: store::second_factors::count_codes(conn, user.id)? }
        }
        Some(row) => Standing::SettingUp(opened(vault, user, &row)?),
    })
}

/// Whether sign-in asks for it.
pub fn is_on(conn: &mut PgConnection, user: UserId) -> Result<bool> {
    Ok(store::second_factors::find(conn, user)?.is_some_and(|row| row.confirmed_at.is_some()))
}

/// Makes a new secret, to be confirmed by a code. One that is on must be switched off first.
pub fn begin(tx: &mut Tx<'_>, vault: &Vault, user: &User) -> Result<()> {
    let now = tx.now;
    let app = Authenticator::generate(&user.email)?;
    let sealed = vault.seal(NOBODYS, &row_of(user.id), app.secret())?;
    if store::second_factors::begin(tx, user.id, &sealed, now)? { Ok(()) } else { Err(on_already()) }
}

/// What came of an act that needs a code. A wrong one is no error: that it was shown is to be committed.
pub enum Shown<T> {
    Right(T),
    Wrong,
}

/// Switches it on, for a person whose app shows the right code. Ends all other sessions and every access token: the password
/// alone may have opened them. The recovery codes exist nowhere else.
pub fn confirm(
    tx: &mut Tx<'_>,
    vault: &Vault,
    who: &Operator,
    user: &User,
    (code, here): (&str, &str),
) -> Result<Shown<Vec<String>>> {
    let now = tx.now;
    // A sign-in with the password alone waits here, and is refused then, or is waited for, and ended.
    store::users::lock(tx, &[user.id])?;
    let row = store::second_factors::lock(tx, user.id)?;
    let row = row.ok_or_else(|| Error::conflict("it is not being set up: begin again"))?;
    if row.confirmed_at.is_some() {
        return Err(on_already());
    }
    let app = opened(vault, user, &row)?;
    let is_right = judge(tx, &row, |tx| match app.step_of(code, now) {
        Some(step) => store::second_factors::take_step(tx, user.id, step),
        None => Ok(false),
    })?;
    if !is_right {
        return Ok(Shown::Wrong);
    }
    store::second_factors::confirm(tx, user.id, now)?;
    let ended = account::end_access(tx, user.id, Some(here))?;
    audit::record_for_instance(tx, who, None, ended.noted(deed("user.second_factor_on", user)))?;
    new_codes(tx, user.id).map(Shown::Right)
}

/// Replaces all recovery codes, for a person who shows a code. Ends all other sessions and every access token: the old codes
/// may have opened them.
pub fn renew_codes(
    tx: &mut Tx<'_>,
    vault: &Vault,
    who: &Operator,
    user: &User,
    (code, here): (&str, &str),
) -> Result<Shown<Vec<String>>> {
    // Tokens that are being made are waited for, and revoked.
    store::users::lock(tx, &[user.id])?;
    if !shows(tx, vault, user, code)? {
        return Ok(Shown::Wrong);
    }
    let ended = account::end_access(tx, user.id, Some(here))?;
    audit::record_for_instance(tx, who, None, ended.noted(deed("user.recovery_codes_renewed", user)))?;
    new_codes(tx, user.id).map(Shown::Right)
}

/// Switches it off, for somebody who has shown their password, and a code here.
pub fn switch_off(tx: &mut Tx<'_>, vault: &Vault, who: &Operator, user: &User, code: &str) -> Result<Shown<()>> {
    // Whoever sets a short password just now waits here, or is waited for.
    if store::users::lock_has_short_password(tx, user.id)? {
        let says = "Your password is too short to stand alone: set one of at least 15 characters first.";
        return Err(Error::field("current_password", Rejection::new("too_short", says)));
    }
    if !shows(tx, vault, user, code)? {
        return Ok(Shown::Wrong);
    }
    end(tx, who, user)?;
    Ok(Shown::Right(()))
}

/// Removes the second factor of a user who lost it: an act of an operator, never on their own account.
pub fn remove(tx: &mut Tx<'_>, who: &Operator, user: &User) -> Result<bool> {
    who.must_be_another(user.id)?;
    end(tx, who, user)
}

/// Deletes the second factor. Ends tokens that sign-ins made, and a password that is too short to stand alone: then it
/// returns true, and the user needs a link to set another.
fn end(tx: &mut Tx<'_>, who: &Operator, user: &User) -> Result<bool> {
    let now = tx.now;
    let is_short = store::users::lock_has_short_password(tx, user.id)?;
    if !store::second_factors::delete(tx, user.id)? {
        return Err(Error::conflict("there is no second factor to remove"));
    }
    account::end_logins(tx, user.id)?;
    if is_short {
        // Nobody's: nothing verifies against it, in the time that it always takes.
        store::users::update_password(tx, user.id, password::NOBODYS_HASH, false, now)?;
        store::sessions::delete_of_user(tx, user.id)?;
    }
    let deed = deed("user.second_factor_off", user).with("password_ended", is_short);
    audit::record_for_instance(tx, who, None, deed)?;
    Ok(is_short)
}

/// Whether this is the code of the moment or an unused recovery code. It is used up by that. Commit where it is none, too:
/// wrong ones are counted.
pub fn check(tx: &mut Tx<'_>, vault: &Vault, user: &User, code: &str) -> Result<bool> {
    let now = tx.now;
    let row = store::second_factors::lock(tx, user.id)?.filter(|row| row.confirmed_at.is_some());
    let Some(row) = row else { return Ok(false) };
    let app = opened(vault, user, &row)?;
    judge(tx, &row, |tx| {
        if let Some(step) = app.step_of(code, now) {
            return store::second_factors::take_step(tx, user.id, step);
        }
        match totp::recovery_digest(code) {
            Some(digest) => store::second_factors::redeem_code(tx, user.id, &digest, now),
            None => Ok(false),
        }
    })
}

/// Looks at a code unless wrong ones came too fast. The row is locked: guesses at one person's codes are judged one after
/// the other, by whichever process, and each is counted before the next.
fn judge(tx: &mut Tx<'_>, row: &SecondFactor, fits: impl FnOnce(&mut Tx<'_>) -> Result<bool>) -> Result<bool> {
    let now = tx.now;
    let wait = row.last_wrong_at.and_then(|last| totp::wait_after(row.wrong_codes, last, now));
    if let Some(wait) = wait {
        return Err(Error::Throttled { retry_after: wait.to_std().unwrap_or_default() });
    }
    let is_right = fits(tx)?;
    if !is_right {
        store::second_factors::count_wrong_code(tx, row.user_id, now)?;
    } else if 0 < row.wrong_codes {
        store::second_factors::forgive_wrong_codes(tx, row.user_id)?;
    }
    Ok(is_right)
}

fn shows(tx: &mut Tx<'_>, vault: &Vault, user: &User, code: &str) -> Result<bool> {
    if !is_on(tx, user.id)? {
        return Err(Error::conflict("the second factor is off"));
    }
    check(tx, vault, user, code)
}

fn new_codes(tx: &mut Tx<'_>, user: UserId) -> Result<Vec<String>> {
    let now = tx.now;
    let codes: Vec<String> = (0..RECOVERY_CODES).map(|_| totp::recovery_code()).collect::<Result<_>>()?;
    let digests: Vec<_> = codes.iter().filter_map(|code| totp::recovery_digest(code)).collect();
    store::second_factors::replace_codes(tx, user, &digests, now)?;
    Ok(codes)
}

fn opened(vault: &Vault, user: &User, row: &SecondFactor) -> Result<Authenticator> {
    Authenticator::new(&vault.open(NOBODYS, &row_of(user.id), &row.sealed)?, &user.email)
}

pub(super) fn row_of(user: UserId) -> String {
    format!("user:{user}/totp")
}

fn deed(action: &'static str, user: &User) -> Deed {
    Deed::new(action, format!("user:{}", user.id)).with("name", user.email.as_str())
}

fn on_already() -> Error {
    Error::conflict("the second factor is on already")
}

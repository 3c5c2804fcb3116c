//! Second factor of sign-in: an authenticator app, and recovery codes for people who lost it. Runs in
//! `Scope::Instance`.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::audit::{self, AuditedAct};
use super::{Operator, account};
use crate::domain::password;
use crate::domain::totp::{self, Authenticator, RECOVERY_CODES};
use crate::domain::vault::Vault;
use crate::domain::{Error, Rejection, Result, TenantId, UserId};
use crate::model::{SecondFactor, User};
use crate::store::{self, Tx};

/// Tenant id used to seal secrets of people, who belong to no tenant.
const NOBODYS: TenantId = TenantId(0);

/// State of a person's second factor.
pub enum SecondFactorState {
    Off,
    /// Secret shown to the person, not confirmed by a code yet.
    SettingUp(Authenticator),
    On {
        since: DateTime<Utc>,
        /// Number of unused recovery codes.
        codes: i64,
    },
}

pub fn standing(conn: &mut PgConnection, vault: &Vault, user: &User) -> Result<SecondFactorState> {
    Ok(match store::second_factors::find(conn, user.id)? {
        None => SecondFactorState::Off,
        Some(SecondFactor { confirmed_at: Some(since), .. }) => {
            SecondFactorState::On { since, codes: store::second_factors::count_codes(conn, user.id)? }
        }
        Some(row) => SecondFactorState::SettingUp(opened(vault, user, &row)?),
    })
}

/// Returns true if sign-in asks this user for a second factor.
pub fn is_on(conn: &mut PgConnection, user: UserId) -> Result<bool> {
    Ok(store::second_factors::find(conn, user)?.is_some_and(|row| row.confirmed_at.is_some()))
}

/// Makes a new secret, to be confirmed by a code. Fails if the second factor is on.
pub fn begin(tx: &mut Tx<'_>, vault: &Vault, user: &User) -> Result<()> {
    let now = tx.now;
    let app = Authenticator::generate(&user.email)?;
    let sealed = vault.seal(NOBODYS, &row_of(user.id), app.secret())?;
    if store::second_factors::begin(tx, user.id, &sealed, now)? { Ok(()) } else { Err(on_already()) }
}

/// Result of an act that needs a code. A wrong code is not an error: the transaction must commit, to count the
/// attempt.
pub enum CodeOutcome<T> {
    Right(T),
    Wrong,
}

/// Turns the second factor on, for a person whose app shows the right code. Ends all other sessions and every access
/// token: the password alone may have opened them. Returns the recovery codes, which are stored only as digests.
pub fn confirm(
    tx: &mut Tx<'_>,
    vault: &Vault,
    who: &Operator,
    user: &User,
    (code, here): (&str, &str),
) -> Result<CodeOutcome<Vec<String>>> {
    let now = tx.now;
    // A concurrent sign-in with the password alone waits for this lock and is refused, or came first and is ended.
    store::users::lock(tx, &[user.id])?;
    let row = store::second_factors::lock(tx, user.id)?;
    let row = row.ok_or_else(|| Error::conflict("no second factor is being set up: start again"))?;
    if row.confirmed_at.is_some() {
        return Err(on_already());
    }
    let app = opened(vault, user, &row)?;
    let is_right = judge(tx, &row, |tx| match app.step_of(code, now) {
        Some(step) => store::second_factors::take_step(tx, user.id, step),
        None => Ok(false),
    })?;
    if !is_right {
        return Ok(CodeOutcome::Wrong);
    }
    store::second_factors::confirm(tx, user.id, now)?;
    let ended = account::end_access(tx, user.id, Some(here))?;
    audit::record_for_instance(tx, who, None, ended.noted(deed("user.second_factor_on", user)))?;
    new_codes(tx, user.id).map(CodeOutcome::Right)
}

/// Replaces all recovery codes, for a person who shows a code. Ends all other sessions and every access token: the old
/// codes may have opened them.
pub fn renew_codes(
    tx: &mut Tx<'_>,
    vault: &Vault,
    who: &Operator,
    user: &User,
    (code, here): (&str, &str),
) -> Result<CodeOutcome<Vec<String>>> {
    // Wait for concurrent token creation, so that those tokens are revoked too.
    store::users::lock(tx, &[user.id])?;
    if !shows(tx, vault, user, code)? {
        return Ok(CodeOutcome::Wrong);
    }
    let ended = account::end_access(tx, user.id, Some(here))?;
    audit::record_for_instance(tx, who, None, ended.noted(deed("user.recovery_codes_renewed", user)))?;
    new_codes(tx, user.id).map(CodeOutcome::Right)
}

/// Turns the second factor off, for a person who has proven their password and shows a code.
pub fn switch_off(tx: &mut Tx<'_>, vault: &Vault, who: &Operator, user: &User, code: &str) -> Result<CodeOutcome<()>> {
    // A change to a short password takes the same lock, so the two run one after the other.
    if store::users::lock_has_short_password(tx, user.id)? {
        let says = "Your password is too short without a second factor: set one of at least 15 characters first.";
        return Err(Error::field("current_password", Rejection::new("too_short", says)));
    }
    if !shows(tx, vault, user, code)? {
        return Ok(CodeOutcome::Wrong);
    }
    end(tx, who, user)?;
    Ok(CodeOutcome::Right(()))
}

/// Removes the second factor of a user who lost it. Only an operator can do this, never on their own account.
pub fn remove(tx: &mut Tx<'_>, who: &Operator, user: &User) -> Result<bool> {
    who.must_be_another(user.id)?;
    end(tx, who, user)
}

/// Deletes the second factor and ends tokens made by sign-ins. A password too short to stand alone ends too: then it
/// returns true, and the user needs a link to set a new one.
fn end(tx: &mut Tx<'_>, who: &Operator, user: &User) -> Result<bool> {
    let now = tx.now;
    let is_short = store::users::lock_has_short_password(tx, user.id)?;
    if !store::second_factors::delete(tx, user.id)? {
        return Err(Error::conflict("there is no second factor to remove"));
    }
    account::end_logins(tx, user.id)?;
    if is_short {
        // No password verifies against this hash, and checking it takes the usual time.
        store::users::update_password(tx, user.id, password::DUMMY_HASH, false, now)?;
        store::sessions::delete_of_user(tx, user.id)?;
    }
    let deed = deed("user.second_factor_off", user).with("password_ended", is_short);
    audit::record_for_instance(tx, who, None, deed)?;
    Ok(is_short)
}

/// Returns true for the current code or an unused recovery code, and uses it up. Commit also if it is false: wrong
/// codes are counted.
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

/// Judges a code unless wrong ones came too fast. The row is locked, so guesses at one person's codes are counted one
/// after the other, across all replicas.
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

fn deed(action: &'static str, user: &User) -> AuditedAct {
    AuditedAct::new(action, format!("user:{}", user.id)).with("name", user.email.as_str())
}

fn on_already() -> Error {
    Error::conflict("the second factor is already on")
}

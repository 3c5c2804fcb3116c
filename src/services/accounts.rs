//! Users: first-time setup, creation, changes and sign-in.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;
use serde::{Deserialize, Serialize};

use super::account;
use super::audit::{self, AuditedAct};
use super::links::{self, digest};
use super::second_factor;
use super::tenants::{self, NewTenant};
use super::{Operator, random_token};
use crate::domain::page::{Page, Paging};
use crate::domain::password::{self, Password, PasswordRules};
use crate::domain::{Error, FieldErrors, Noun, Rejection, Result, Role, UserId, email, text};
use crate::model::{Tenant, User};
use crate::store::notify::Change;
use crate::store::users::NewUser as NewUserRow;
use crate::store::{self, Tx};

const SETUP: &str = "setup";
const SETUP_LINK_LIVES: TimeDelta = TimeDelta::hours(24);

/// User to create. The password is hashed already, since hashing takes tens of milliseconds.
#[derive(Debug, Clone)]
pub struct NewUser {
    pub email: String,
    pub name: String,
    pub password_hash: String,
    pub is_operator: bool,
    /// True if the address is known to belong to this person.
    pub is_email_confirmed: bool,
}

impl NewUser {
    /// Parses the input and hashes the password. Call it off the async threads. The password must not be made of the
    /// texts in `known`.
    pub fn parse(address: &str, name: Option<&str>, password: &str, is_operator: bool, known: &[&str]) -> Result<Self> {
        let mut errors = FieldErrors::default();
        let email = errors.take("email", email::parse(address));
        let name = match name.filter(|name| !name.trim().is_empty()) {
            Some(name) => errors.take("name", text::name(name)),
            None => email.as_deref().map(|email| email.split('@').next().unwrap_or(email).to_owned()),
        };
        let known = [known, &[address, name.as_deref().unwrap_or_default()]].concat();
        let password = errors.take("password", Password::parse(password, &PasswordRules::new(false, &known)));
        match (email, name, password) {
            (Some(email), Some(name), Some(password)) => Ok(Self {
                email,
                name,
                password_hash: password::hash(&password)?,
                is_operator,
                is_email_confirmed: true,
            }),
            _ => Err(errors.into()),
        }
    }
}

pub fn create(tx: &mut Tx<'_>, who: &Operator, ask: &NewUser) -> Result<User> {
    let now = tx.now;
    if store::users::find_by_email(tx, &ask.email)?.is_some() {
        return Err(Error::field("email", Rejection::new("taken", "already belongs to a user")));
    }
    let row = NewUserRow {
        email: &ask.email,
        name: &ask.name,
        password_hash: &ask.password_hash,
        is_operator: ask.is_operator,
        is_email_confirmed: ask.is_email_confirmed,
    };
    let user = store::users::insert(tx, &row, now)?;
    let deed = AuditedAct::new("user.created", format!("user:{}", user.id)).with("is_operator", ask.is_operator);
    audit::record_for_instance(tx, who, None, deed)?;
    Ok(user)
}

pub fn find(conn: &mut PgConnection, user: UserId) -> Result<User> {
    store::users::find(conn, user)?.ok_or(Error::NotFound(Noun::User))
}

/// Returns one page of users, newest first, with the total.
pub fn list(conn: &mut PgConnection, paging: &Paging<UserId>) -> Result<Page<User, UserId>> {
    let rows = store::users::search(conn, None, paging)?;
    Ok(Page { total: Some(store::users::count(conn)?), ..Page::cut(rows, paging, |user| user.id) })
}

/// Returns one page of users, newest first. The flag is true if sign-in asks the user for a second factor.
pub fn page(
    conn: &mut PgConnection,
    search: Option<&str>,
    paging: &Paging<UserId>,
) -> Result<Page<(User, bool), UserId>> {
    let rows = store::users::search(conn, search, paging)?;
    let ids: Vec<UserId> = rows.iter().map(|user| user.id).collect();
    let with = store::second_factors::confirmed_of(conn, &ids)?;
    Ok(Page::cut(rows, paging, |user| user.id).map(|user| {
        let has_factor = with.contains(&user.id);
        (user, has_factor)
    }))
}

/// Change of a user. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    pub name: Option<String>,
    pub is_active: Option<bool>,
    pub is_operator: Option<bool>,
}

/// Changes a user. Deactivation ends sessions, tokens and keys that require this owner at once. Links end if the user
/// lost the right that they need. At least one active operator must remain.
pub fn update(tx: &mut Tx<'_>, who: &Operator, user: UserId, change: UserChange) -> Result<User> {
    let now = tx.now;
    let before = find(tx, user)?;
    let name = text::name(change.name.as_deref().unwrap_or(&before.name));
    let name = name.map_err(|rejection| Error::field("name", rejection))?;
    let is_active = change.is_active.unwrap_or(before.is_active);
    let is_operator = change.is_operator.unwrap_or(before.is_operator);
    if (is_active, is_operator) != (before.is_active, before.is_operator) {
        who.must_be_another(user)?;
    }
    if before.is_operator && before.is_active && !(is_operator && is_active) {
        let operators = store::users::lock_operators(tx)?;
        if operators.iter().all(|id| *id == user) {
            return Err(Error::conflict("the instance needs an operator: make another user an operator first"));
        }
    }
    let after = store::users::update(tx, user, &name, (is_active, is_operator), now)?;
    let after = after.ok_or(Error::NotFound(Noun::User))?;
    let deed = AuditedAct::new("user.updated", format!("user:{user}"))
        .with("name", after.email.as_str())
        .changing(facts(&before), facts(&after));
    audit::record_for_instance(tx, who, None, deed)?;
    if before.is_active && !after.is_active {
        store::sessions::delete_of_user(tx, user)?;
        account::end_resets(tx, user)?;
    }
    if before.is_operator && !after.is_operator {
        store::access_tokens::revoke_of_instance(tx, user, now)?;
    }
    links::end_unbacked(tx, who, user)?;
    tx.announce(Change::Access);
    Ok(after)
}

fn facts(user: &User) -> serde_json::Value {
    serde_json::json!({"name": user.name, "is_active": user.is_active, "is_operator": user.is_operator})
}

/// New password, hashed already.
#[derive(Debug, Clone)]
pub struct NewPassword {
    pub hash: String,
    /// True if the password is long enough only together with a second factor.
    pub is_short: bool,
}

impl NewPassword {
    /// Parses and hashes the password. Call it off the async threads.
    pub fn parse(text: &str, rules: &PasswordRules) -> Result<Self> {
        let password = Password::parse(text, rules);
        let password = password.map_err(|rejection| Error::field("password", rejection))?;
        Ok(Self { hash: password::hash(&password)?, is_short: password.is_short() })
    }
}

/// Returns the rules for a new password of this user. `host` is the host name of this instance.
pub fn password_rules(conn: &mut PgConnection, user: UserId, host: Option<&str>) -> Result<PasswordRules> {
    let (person, has_factor) = (find(conn, user)?, second_factor::is_on(conn, user)?);
    let mut texts = vec![person.email, person.name, host.unwrap_or_default().to_owned()];
    for (tenant, _) in store::memberships::list_of_user(conn, user)? {
        texts.extend([tenant.name, tenant.slug]);
    }
    Ok(PasswordRules::new(has_factor, &texts))
}

/// Writes a new password. A short one is accepted only while the user's second factor is on.
pub(super) fn write_password(tx: &mut Tx<'_>, user: UserId, new: &NewPassword) -> Result<()> {
    let now = tx.now;
    // Turning the second factor off takes the same lock, so the two run one after the other.
    store::users::lock_has_short_password(tx, user)?;
    if new.is_short && !second_factor::is_on(tx, user)? {
        let says = "must be at least 15 characters: your second factor is now off";
        return Err(Error::field("password", Rejection::new("too_short", says)));
    }
    if store::users::update_password(tx, user, &new.hash, new.is_short, now)? {
        Ok(())
    } else {
        Err(Error::NotFound(Noun::User))
    }
}

/// Sets a user's password, ends all their sessions and revokes their access tokens.
pub fn set_password(tx: &mut Tx<'_>, who: &Operator, user: UserId, new: &NewPassword) -> Result<()> {
    write_password(tx, user, new)?;
    let ended = account::end_access(tx, user, None)?;
    let deed = ended.noted(AuditedAct::new("user.password_set", format!("user:{user}")));
    audit::record_for_instance(tx, who, None, deed)
}

/// Makes the one-time setup token if no user exists. An earlier unused token stops working.
pub fn offer_setup(tx: &mut Tx<'_>) -> Result<Option<String>> {
    let now = tx.now;
    if 0 < store::users::count(tx)? {
        return Ok(None);
    }
    let token = random_token()?;
    store::one_time_links::delete_unused(tx, SETUP)?;
    store::one_time_links::insert(tx, SETUP, &digest(&token), now, now + SETUP_LINK_LIVES)?;
    Ok(Some(token))
}

/// Fails unless the setup page may be shown for this token.
pub fn may_set_up(tx: &mut Tx<'_>, token: &str) -> Result<()> {
    let now = tx.now;
    let may = store::users::count(tx)? == 0 && store::one_time_links::is_live(tx, SETUP, &digest(token), now)?;
    if may { Ok(()) } else { Err(Error::NotFound(Noun::SetupLink)) }
}

/// Makes the first operator and the first tenant, which the operator owns. Works once.
pub fn set_up(
    tx: &mut Tx<'_>,
    token: &str,
    user: &NewUser,
    tenant: &NewTenant,
    who: &Operator,
) -> Result<(User, Tenant)> {
    // Redeem first: its row lock makes a concurrent setup wait, and then fail.
    let now = tx.now;
    if !store::one_time_links::redeem(tx, SETUP, &digest(token), now)? || 0 < store::users::count(tx)? {
        return Err(Error::NotFound(Noun::SetupLink));
    }
    let user = create(tx, who, user)?;
    let who = Operator { user: Some(user.id), label: user.email.clone(), ..who.clone() };
    let tenant = tenants::create(tx, &who, tenant)?;
    tenants::add_member(tx, &who, tenant.id, user.id, Role::Owner)?;
    Ok((user, tenant))
}

/// Facts of an account that a sign-in was checked against. The sign-in counts only while they are unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignIn {
    pub user: UserId,
    /// Time of the account's last change before the check.
    pub as_of: DateTime<Utc>,
    /// True if a second factor was shown.
    pub has_code: bool,
}

impl SignIn {
    pub const fn of(user: &User, has_code: bool) -> Self {
        Self { user: user.id, as_of: user.updated_at, has_code }
    }

    /// Returns true if the account is still as it was checked. Locks the user's row. A stronger password or a second
    /// factor is either set up before, and the sign-in is refused, or set up after, and ends the session.
    pub fn still_holds(&self, conn: &mut PgConnection) -> Result<bool> {
        store::users::lock(conn, &[self.user])?;
        let user = store::users::find(conn, self.user)?;
        let is_same = user.is_some_and(|user| user.is_active && user.updated_at == self.as_of);
        Ok(is_same && (self.has_code || !second_factor::is_on(conn, self.user)?))
    }
}

/// User and password hash to check at sign-in. An unknown address also gets a hash, so both cases take the same time.
#[derive(Debug)]
pub struct Credentials {
    user: Option<User>,
    password_hash: Option<String>,
}

pub fn credentials(conn: &mut PgConnection, email: &str) -> Result<Credentials> {
    let (user, password_hash) = store::users::find_with_password(conn, &email::lookup(email))?.unzip();
    Ok(Credentials { user, password_hash })
}

impl Credentials {
    /// Returns the user if the password is right and the user is active. Takes tens of milliseconds: call it off the
    /// async threads.
    pub fn check(self, password: &str) -> Option<User> {
        let hash = self.password_hash.as_deref().unwrap_or(password::DUMMY_HASH);
        let is_right = password::verify(hash, password);
        self.user.filter(|user| is_right && user.is_active)
    }
}

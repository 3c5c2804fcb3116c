//! Session store in Postgres for actix-session. A row holds the SHA-256 of the session's key. Visitors' sessions have
//! no row.

use std::collections::HashMap;

use actix_session::Session;
use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;
use anyhow::anyhow;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::{PENDING, USER};
use super::{session_race, visitors};
use crate::domain::{Clock, Error, Result, UserId};
use crate::services::account::{self, HANDLE};
use crate::services::accounts::SignIn;
use crate::services::random_token;
use crate::store::{Db, Scope, Tx, sessions};

/// How long a session lasts without a request.
pub const IDLE: TimeDelta = TimeDelta::minutes(30);
/// How long a session lasts at most.
pub const ABSOLUTE: TimeDelta = TimeDelta::hours(12);

/// Transient session entry, never stored: the session needs a new key.
const RENEWED: &str = "renewed";
/// Transient session entry, never stored: the session is new, made for a sign-in.
const BEGUN: &str = "begun";
/// Transient session entry, never stored: the [`SignIn`] with what the user has proved.
const SIGN_IN: &str = "sign_in";

type State = HashMap<String, String>;

/// Gives a session a new key, so that the old one is worthless. `Session::renew` is not used here: it would delete the
/// row and insert another from this request's state. A session that was ended meanwhile would then come back to life.
pub fn renew(session: &Session) -> Result<()> {
    session.insert(RENEWED, true).map_err(|error| Error::bug(error.to_string()))
}

/// Starts a session with a new key for a sign-in.
pub fn begin(session: &Session, sign_in: &SignIn) -> Result<()> {
    session.renew();
    let keep = |error: actix_session::SessionInsertError| Error::bug(error.to_string());
    session.insert(BEGUN, true).map_err(keep)?;
    session.insert(SIGN_IN, sign_in).map_err(keep)
}

/// Session store that actix-session reads and writes.
#[derive(Clone)]
pub struct PostgresSessions {
    pub db: Db,
    pub clock: Clock,
}

impl SessionStore for PostgresSessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        if visitors::is_key(key.as_ref()) {
            return Ok(visitors::state_of(key.as_ref(), self.clock.now()));
        }
        let (digest, now) = (digest(key.as_ref()), self.clock.now());
        let found = self.db.read(Scope::Instance, move |tx| sessions::find_live(tx, &digest, now)).await;
        let Some(session) = found.map_err(|error| LoadError::Other(opaque(error)))? else { return Ok(None) };
        let state = serde_json::from_value(session.state).map_err(|error| LoadError::Deserialization(error.into()))?;
        Ok(Some(state))
    }

    async fn save(&self, mut state: State, _: &Duration) -> Result<SessionKey, SaveError> {
        state.remove(RENEWED);
        let sign_in = state.remove(SIGN_IN).and_then(|text| serde_json::from_str::<SignIn>(&text).ok());
        if state.remove(BEGUN).is_some()
            && let Some(key) = self.insert(&state, sign_in).await.map_err(SaveError::Other)?
        {
            return session_key(key).map_err(SaveError::Other);
        }
        // Drop the user: a new session without a valid sign-in must not be signed in. The user's own session goes on
        // elsewhere or has ended.
        state.retain(|name, _| name == PENDING || visitors::ENTRIES.contains(&name.as_str()));
        if let Some(key) = visitors::key_of(&state, self.clock.now()) {
            return session_key(key).map_err(SaveError::Other);
        }
        let key = self.insert(&state, None).await.map_err(SaveError::Other)?;
        session_key(key.unwrap_or_default()).map_err(SaveError::Other)
    }

    async fn update(&self, key: SessionKey, mut state: State, ttl: &Duration) -> Result<SessionKey, UpdateError> {
        if visitors::is_key(key.as_ref()) {
            return self.save(state, ttl).await.map_err(|error| UpdateError::Other(error.into()));
        }
        let renewed = state.remove(RENEWED).map(|_| random_token()).transpose();
        let renewed = renewed.map_err(|error| UpdateError::Other(opaque(error)))?;
        let old = digest(key.as_ref());
        let new = renewed.as_deref().map_or(old, digest);
        let (now, user, value) = (self.clock.now(), user_of(&state), json!(state));
        let update = move |tx: &mut Tx<'_>| {
            sessions::touch(tx, &old, now, IDLE, ABSOLUTE)?;
            if sessions::update_state(tx, &old, &new, user, &value, now)? {
                return Ok(SessionOutcome::Kept);
            }
            // No row has the old key. A live session with this handle means that another request renewed the key.
            let lives = account::is_signed_in(tx, user, value.get(HANDLE))?;
            Ok(if lives { SessionOutcome::Renewed } else { SessionOutcome::Ended })
        };
        let fate = self.db.tx(Scope::Instance, update).await.map_err(|error| UpdateError::Other(opaque(error)))?;
        match (fate, renewed) {
            (SessionOutcome::Kept, Some(renewed)) => session_key(renewed).map_err(UpdateError::Other),
            (SessionOutcome::Kept, None) => Ok(key),
            // This request's changes are lost: it does not know the new key that the other request created.
            (SessionOutcome::Renewed, _) => {
                session_race::note();
                Ok(key)
            }
            // Save the other entries in a new session, without the user: a signed-out user would otherwise be signed
            // in again.
            (SessionOutcome::Ended, _) => self.save(state, ttl).await.map_err(|error| UpdateError::Other(error.into())),
        }
    }

    async fn update_ttl(&self, key: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        if visitors::is_key(key.as_ref()) {
            return Ok(());
        }
        let (digest, now) = (digest(key.as_ref()), self.clock.now());
        let touch = move |tx: &mut Tx<'_>| {
            sessions::touch(tx, &digest, now, IDLE, ABSOLUTE)?;
            sessions::is_live(tx, &digest, now)
        };
        if !self.db.tx(Scope::Instance, touch).await.map_err(opaque)? {
            session_race::note();
        }
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        if visitors::is_key(key.as_ref()) {
            return Ok(());
        }
        let digest = digest(key.as_ref());
        self.db.tx(Scope::Instance, move |tx| sessions::delete(tx, &digest)).await.map_err(opaque)
    }
}

impl PostgresSessions {
    /// Inserts the row of a new session, unless its sign-in no longer holds. Returns the session's key.
    async fn insert(&self, state: &State, sign_in: Option<SignIn>) -> Result<Option<String>, anyhow::Error> {
        let key = random_token().map_err(opaque)?;
        let (digest, now, user, state) = (digest(&key), self.clock.now(), user_of(state), json!(state));
        let insert = move |tx: &mut Tx<'_>| {
            if let Some(sign_in) = sign_in
                && !sign_in.still_holds(tx)?
            {
                return Ok(false);
            }
            sessions::insert(tx, &digest, user, &state, now, now + IDLE).map(|()| true)
        };
        let is_kept = self.db.tx(Scope::Instance, insert).await.map_err(opaque)?;
        Ok(is_kept.then_some(key))
    }
}

/// State of a session after a request ran.
enum SessionOutcome {
    /// The session still has the key that this request used.
    Kept,
    /// Another request gave the session another key.
    Renewed,
    /// The session was ended.
    Ended,
}

fn session_key(text: String) -> Result<SessionKey, anyhow::Error> {
    text.try_into().map_err(|_| anyhow!("the key of a session is too long"))
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// Returns the signed-in user of a state. The row has the id in a column, so that a person's sessions can be ended.
fn user_of(state: &State) -> Option<UserId> {
    let text = state.get(USER)?;
    serde_json::from_str::<Value>(text).ok()?.as_i64().map(UserId)
}

fn opaque(error: Error) -> anyhow::Error {
    anyhow::Error::new(error)
}

//! Sessions in Postgres for actix-session: the row holds the SHA-256 of the session's key. Those of visitors have no row.

use std::collections::HashMap;

use actix_session::Session;
use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;
use anyhow::anyhow;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::{PENDING, USER};
use super::{overtaken, visitors};
use crate::domain::{Clock, Error, Result, UserId};
use crate::services::account::{self, HANDLE};
use crate::services::accounts::SignIn;
use crate::services::random_token;
use crate::store::{Db, Scope, Tx, sessions};

/// A session ends after this long without a request.
pub const IDLE: TimeDelta = TimeDelta::minutes(30);
/// And after this long in any case.
pub const ABSOLUTE: TimeDelta = TimeDelta::hours(12);

/// Entries of a session that are not kept: it needs a new key; it is new, for a sign-in; what that sign-in has shown.
const RENEWED: &str = "renewed";
const BEGUN: &str = "begun";
const SIGN_IN: &str = "sign_in";

type State = HashMap<String, String>;

/// Gives a session a new key: who had the old one has nothing. Not by `Session::renew`, which would remove the row and make
/// another of what this request knows: a session that was ended meanwhile would be back, and begin anew.
pub fn renew(session: &Session) -> Result<()> {
    session.insert(RENEWED, true).map_err(|error| Error::bug(error.to_string()))
}

/// Makes a session with a new key for a sign-in.
pub fn begin(session: &Session, sign_in: &SignIn) -> Result<()> {
    session.renew();
    let keep = |error: actix_session::SessionInsertError| Error::bug(error.to_string());
    session.insert(BEGUN, true).map_err(keep)?;
    session.insert(SIGN_IN, sign_in).map_err(keep)
}

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
        // A new session without a sign-in that holds keeps no user: its own session goes on elsewhere, or has ended.
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
                return Ok(Fate::Kept);
            }
            let lives = account::is_signed_in(tx, user, value.get(HANDLE))?;
            Ok(if lives { Fate::Renewed } else { Fate::Ended })
        };
        let fate = self.db.tx(Scope::Instance, update).await.map_err(|error| UpdateError::Other(opaque(error)))?;
        match (fate, renewed) {
            (Fate::Kept, Some(renewed)) => session_key(renewed).map_err(UpdateError::Other),
            (Fate::Kept, None) => Ok(key),
            // What was to be remembered is lost with it: nobody knows the key that the other request gave.
            (Fate::Renewed, _) => {
                overtaken::note();
                Ok(key)
            }
            // Whatever was to be remembered goes into a new one. Not who was signed in, or somebody who was signed out would
            // be back.
            (Fate::Ended, _) => self.save(state, ttl).await.map_err(|error| UpdateError::Other(error.into())),
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
            overtaken::note();
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
    /// Adds the row of a new session, unless it is for a sign-in that no longer holds. Returns the session's key.
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

/// What became of a session while a request ran.
enum Fate {
    Kept,
    /// Another request has given it another key.
    Renewed,
    Ended,
}

fn session_key(text: String) -> Result<SessionKey, anyhow::Error> {
    text.try_into().map_err(|_| anyhow!("the key of a session is too long"))
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The signed-in user stands in the row too, so that a person's sessions can be ended.
fn user_of(state: &State) -> Option<UserId> {
    let text = state.get(USER)?;
    serde_json::from_str::<Value>(text).ok()?.as_i64().map(UserId)
}

fn opaque(error: Error) -> anyhow::Error {
    anyhow::Error::new(error)
}

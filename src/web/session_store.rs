//! Sessions in Postgres for actix-session: the row holds the SHA-256 of the session's key.

use std::collections::HashMap;

use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_web::cookie::time::Duration;
use anyhow::anyhow;
use chrono::TimeDelta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::auth::USER;
use crate::domain::{Clock, Error, UserId};
use crate::services::random_token;
use crate::store::{Db, Scope, sessions};

/// A session ends after this long without a request.
pub const IDLE: TimeDelta = TimeDelta::minutes(30);
/// And after this long in any case.
pub const ABSOLUTE: TimeDelta = TimeDelta::hours(12);

type State = HashMap<String, String>;

#[derive(Clone)]
pub struct PostgresSessions {
    pub db: Db,
    pub clock: Clock,
}

impl SessionStore for PostgresSessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let (digest, now) = (digest(key.as_ref()), self.clock.now());
        let found = self.db.read(Scope::Instance, move |conn| sessions::find_live(conn, &digest, now)).await;
        let Some(session) = found.map_err(|error| LoadError::Other(opaque(error)))? else { return Ok(None) };
        let state = serde_json::from_value(session.state).map_err(|error| LoadError::Deserialization(error.into()))?;
        Ok(Some(state))
    }

    async fn save(&self, state: State, _: &Duration) -> Result<SessionKey, SaveError> {
        let key = random_token().map_err(|error| SaveError::Other(opaque(error)))?;
        let (digest, now, user, state) = (digest(&key), self.clock.now(), user_of(&state), json!(state));
        let insert = move |conn: &mut _| sessions::insert(conn, &digest, user, &state, now, now + IDLE);
        self.db.tx(Scope::Instance, insert).await.map_err(|error| SaveError::Other(opaque(error)))?;
        key.try_into().map_err(|_| SaveError::Other(anyhow!("a session key of 43 characters is too long")))
    }

    async fn update(&self, key: SessionKey, state: State, ttl: &Duration) -> Result<SessionKey, UpdateError> {
        let (digest, now, user, value) = (digest(key.as_ref()), self.clock.now(), user_of(&state), json!(state));
        let update = move |conn: &mut _| {
            sessions::touch(conn, &digest, now, IDLE, ABSOLUTE)?;
            sessions::update_state(conn, &digest, user, &value)
        };
        let is_there = self.db.tx(Scope::Instance, update).await.map_err(|error| UpdateError::Other(opaque(error)))?;
        if is_there {
            return Ok(key);
        }
        // It ended while the request ran: whatever was to be remembered goes into a new one. Not who was signed in, or
        // somebody who was signed out would be back.
        let state = state.into_iter().filter(|(name, _)| name != USER).collect();
        self.save(state, ttl).await.map_err(|error| UpdateError::Other(error.into()))
    }

    async fn update_ttl(&self, key: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        let (digest, now) = (digest(key.as_ref()), self.clock.now());
        let touch = move |conn: &mut _| sessions::touch(conn, &digest, now, IDLE, ABSOLUTE);
        self.db.tx(Scope::Instance, touch).await.map_err(opaque)
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        let digest = digest(key.as_ref());
        self.db.tx(Scope::Instance, move |conn| sessions::delete(conn, &digest)).await.map_err(opaque)
    }
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

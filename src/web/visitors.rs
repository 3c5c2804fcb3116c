//! Sessions of visitors, stored in the cookie without a row. Requests without sign-in therefore cannot fill the table
//! of sessions.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::session_store::ABSOLUTE;
use super::{csrf, flash};

/// Entries of a visitor's session: the CSRF token, which every page sets, and the flash message.
pub const ENTRIES: [&str; 2] = [csrf::KEY, flash::KEY];
/// First character of a visitor's session key. Keys of rows never begin with it.
const MARK: char = '~';
/// Maximum length of a visitor's key in characters, so that the cookie fits into a browser's limit.
const LONGEST: usize = 3_500;

/// Content of a visitor's session.
#[derive(Serialize, Deserialize)]
struct Visit {
    /// Time of the last change, from which the session expires.
    since: DateTime<Utc>,
    /// Entries of the session.
    state: HashMap<String, String>,
}

/// Returns the visitor's session as its own key, or `None` if it must be stored in a row. The cookie around the key is
/// signed, so only this instance can have made it.
pub fn key_of(state: &HashMap<String, String>, now: DateTime<Utc>) -> Option<String> {
    if !state.keys().all(|name| ENTRIES.contains(&name.as_str())) {
        return None;
    }
    let text = serde_json::to_vec(&Visit { since: now, state: state.clone() }).ok()?;
    let key = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(text));
    (key.len() <= LONGEST).then_some(key)
}

/// True if the key is of a visitor's session.
pub fn is_key(key: &str) -> bool {
    key.starts_with(MARK)
}

/// Returns the entries of a visitor's session, or `None` if it has expired. Only [`ENTRIES`] are read, so a cookie can
/// sign no user in.
pub fn state_of(key: &str, now: DateTime<Utc>) -> Option<HashMap<String, String>> {
    let text = URL_SAFE_NO_PAD.decode(key.strip_prefix(MARK)?).ok()?;
    let mut visit: Visit = serde_json::from_slice(&text).ok()?;
    visit.state.retain(|name, _| ENTRIES.contains(&name.as_str()));
    (now < visit.since + ABSOLUTE).then_some(visit.state)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::web::auth::USER;

    #[test]
    fn a_visitors_session_holds_only_its_own_entries_and_expires() {
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let mut state = HashMap::from([(csrf::KEY.to_owned(), "\"x\"".to_owned())]);
        let key = key_of(&state, now).unwrap();
        assert!(is_key(&key) && state_of(&key, now) == Some(state.clone()));
        assert!(state_of(&key, now + TimeDelta::hours(12)).is_none());
        state.insert(flash::KEY.to_owned(), "x".repeat(4_000));
        assert!(key_of(&state, now).is_none());
        state.insert(USER.to_owned(), "1".to_owned());
        assert!(key_of(&state, now).is_none());
        let forged = serde_json::to_vec(&Visit { since: now, state }).unwrap();
        let read = state_of(&format!("~{}", URL_SAFE_NO_PAD.encode(forged)), now).unwrap();
        assert!(!read.contains_key(USER));
    }
}

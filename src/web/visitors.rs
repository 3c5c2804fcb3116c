//! Sessions of those who are not signed in: in their cookie, and in no row, so that nobody can fill the table of sessions.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::session_store::ABSOLUTE;
use super::{csrf, flash};

/// What a visitor's session is about: their forms' token, which every page shows them, and a sentence.
pub const ENTRIES: [&str; 2] = [csrf::KEY, flash::KEY];
/// No key of a row begins with it.
const MARK: char = '~';
/// Characters that a cookie has room for.
const LONGEST: usize = 3_500;

#[derive(Serialize, Deserialize)]
struct Visit {
    since: DateTime<Utc>,
    state: HashMap<String, String>,
}

/// The session as its own key; `None` where it must be kept in a row. The cookie around it is signed: whoever comes with it
/// got it from here.
pub fn key_of(state: &HashMap<String, String>, now: DateTime<Utc>) -> Option<String> {
    if !state.keys().all(|name| ENTRIES.contains(&name.as_str())) {
        return None;
    }
    let text = serde_json::to_vec(&Visit { since: now, state: state.clone() }).ok()?;
    let key = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(text));
    (key.len() <= LONGEST).then_some(key)
}

pub fn is_key(key: &str) -> bool {
    key.starts_with(MARK)
}

/// `None` for one that is over. Whatever else it says, it makes nobody signed in.
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
    fn a_visitor_is_a_token_and_a_sentence_for_half_a_day_and_nobody_else() {
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

//! Key lookup by a secret, an id or a hint, for pages and API.

use crate::domain::Result;
use crate::domain::api_key::LookupText;
use crate::domain::page::Capped;
use crate::model::ApiKey;
use crate::services::api_keys;
use crate::store::{Db, Scope};
use crate::web::state::State;

/// Result of a lookup.
#[derive(Debug)]
pub enum LookupResult {
    /// Exactly one key matches.
    Key(Box<ApiKey>),
    /// The key is deleted and can still be restored.
    Deleted(Box<ApiKey>),
    /// The id belongs to this key, but the secret does not.
    WrongSecret(Box<ApiKey>),
    /// Several keys match the hint.
    Several(Capped<ApiKey>),
    /// No key here matches. The result does not tell whether another tenant has one.
    Unknown,
    /// The text looks like a secret, but its checksum is wrong.
    Mistyped,
    /// The text is another credential of Gatepost, here named, such as "an access token".
    Foreign(&'static str),
    /// The text is empty.
    Empty,
    /// The text is no secret, key id or hint.
    Unreadable,
}

/// Looks up the key that `text` leads to. The text is neither stored nor logged.
pub async fn find(state: &State, db: &Db, scope: Scope, text: &str) -> Result<LookupResult> {
    let clue = LookupText::read(text);
    let asked = clue.clone();
    let mut found = match clue {
        LookupText::Empty => return Ok(LookupResult::Empty),
        LookupText::Mistyped => return Ok(LookupResult::Mistyped),
        LookupText::Foreign(kind) => return Ok(LookupResult::Foreign(kind)),
        LookupText::Unreadable => return Ok(LookupResult::Unreadable),
        _ => db.read(scope, move |tx| api_keys::matching(tx, scope, &asked)).await?,
    };
    let Some(key) = found.pop() else { return Ok(LookupResult::Unknown) };
    if !found.is_empty() {
        found.push(key);
        return Ok(LookupResult::Several(Capped::cut(found, api_keys::MOST_ALIKE)));
    }
    let key = Box::new(key);
    if let LookupText::Secret { text, .. } = &clue
        && !state.gate.fits(&key, text).await?
    {
        return Ok(LookupResult::WrongSecret(key));
    }
    Ok(if key.deleted_at.is_some() { LookupResult::Deleted(key) } else { LookupResult::Key(key) })
}

impl LookupResult {
    /// Returns the code of the result for programs. Codes are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(_) => "FOUND",
            Self::Several(_) => "SEVERAL",
            Self::Deleted(_) => "DELETED",
            Self::WrongSecret(_) => "WRONG_SECRET",
            Self::Unknown => "NOT_FOUND",
            Self::Mistyped => "MALFORMED",
            Self::Foreign(_) => "NOT_A_KEY",
            Self::Empty | Self::Unreadable => "UNREADABLE",
        }
    }

    /// Returns the sentence that a page shows.
    pub fn sentence(&self) -> String {
        match self {
            Self::Key(key) => format!("This is {}.", key.name),
            Self::Several(keys) if keys.is_capped => {
                let shown = keys.rows.len();
                format!("More than {shown} keys have this hint: {shown} are shown. Look up one of them by its id or secret.")
            }
            Self::Several(keys) => format!("{} keys have this hint.", keys.rows.len()),
            Self::Deleted(key) => format!("This is {}, which was deleted and can still be restored.", key.name),
            Self::WrongSecret(key) => {
                format!("The id belongs to {}, but the secret does not.", key.name)
            }
            Self::Unknown => "No key matches. It may belong to another tenant or instance, or have been deleted more than 30 days ago.".to_owned(),
            Self::Mistyped => "This looks like a secret, but its checksum is wrong: it was mistyped or cut off. Copy the whole secret again.".to_owned(),
            Self::Foreign(kind) => format!("This is {kind}, not an API key."),
            Self::Empty => "Paste a secret, a key id or a hint.".to_owned(),
            Self::Unreadable => "This is not a secret, key id or hint of an API key. A secret is sk_ and 71 letters or digits, a key id is pk_ and 22, and a hint looks like sk_3kTq…9xZ2.".to_owned(),
        }
    }

    /// Returns the keys found.
    pub fn into_keys(self) -> Vec<ApiKey> {
        match self {
            Self::Key(key) | Self::Deleted(key) | Self::WrongSecret(key) => vec![*key],
            Self::Several(keys) => keys.rows,
            _ => Vec::new(),
        }
    }
}

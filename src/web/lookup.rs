//! Whose key is this? What a secret, an id or a hint leads to, for pages and API alike.

use crate::domain::Result;
use crate::domain::api_key::Clue;
use crate::model::ApiKey;
use crate::services::api_keys;
use crate::store::{Db, Scope};
use crate::web::state::State;

/// What came of it.
#[derive(Debug)]
pub enum Finding {
    Key(Box<ApiKey>),
    /// Deleted, and still to be restored.
    Deleted(Box<ApiKey>),
    /// The id is that of a key here, but the secret is not its own.
    WrongSecret(Box<ApiKey>),
    Several(Vec<ApiKey>),
    /// Unknown here; whether it exists elsewhere is nobody's business.
    Unknown,
    Mistyped,
    /// Something else of ours: "an access token".
    Foreign(&'static str),
    Empty,
    Unreadable,
}

/// Looks it up with this pool. The text is neither stored nor logged.
pub async fn find(state: &State, db: &Db, scope: Scope, text: &str) -> Result<Finding> {
    let clue = Clue::read(text);
    let asked = clue.clone();
    let mut found = match clue {
        Clue::Empty => return Ok(Finding::Empty),
        Clue::Mistyped => return Ok(Finding::Mistyped),
        Clue::Foreign(kind) => return Ok(Finding::Foreign(kind)),
        Clue::Unreadable => return Ok(Finding::Unreadable),
        _ => db.read(scope, move |tx| api_keys::matching(tx, scope, &asked)).await?,
    };
    let Some(key) = found.pop() else { return Ok(Finding::Unknown) };
    if !found.is_empty() {
        found.push(key);
        return Ok(Finding::Several(found));
    }
    let key = Box::new(key);
    if let Clue::Secret { text, .. } = &clue
        && !state.gate.fits(&key, text).await?
    {
        return Ok(Finding::WrongSecret(key));
    }
    Ok(if key.deleted_at.is_some() { Finding::Deleted(key) } else { Finding::Key(key) })
}

impl Finding {
    /// Stable, for programs.
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

    /// For people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Key(key) => format!("This is {}.", key.name),
            Self::Several(keys) => format!("{} keys look like this.", keys.len()),
            Self::Deleted(key) => format!("This was {}, which is deleted. It can still be restored.", key.name),
            Self::WrongSecret(key) => {
                format!("Its id is that of {}, but the secret is not the one of that key.", key.name)
            }
            Self::Unknown => "No key here looks like this. It may belong to another tenant or instance, or have been deleted more than 30 days ago.".to_owned(),
            Self::Mistyped => "This looks like a secret, but something in it was mistyped or cut off: its checksum does not hold. Copy it again, in full.".to_owned(),
            Self::Foreign(kind) => format!("This is {kind}, not an API key."),
            Self::Empty => "Paste a secret, a key id or a hint.".to_owned(),
            Self::Unreadable => "This is no secret, key id or hint of an API key. A secret looks like sk_ and 71 letters and digits, an id like pk_ and 22, a hint like sk_3kTq…9xZ2.".to_owned(),
        }
    }

    pub fn into_keys(self) -> Vec<ApiKey> {
        match self {
            Self::Key(key) | Self::Deleted(key) | Self::WrongSecret(key) => vec![*key],
            Self::Several(keys) => keys,
            _ => Vec::new(),
        }
    }
}

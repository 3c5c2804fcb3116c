//! Subcommands of `gatepost keys` that act on one key.

use clap::Args;
use serde_json::Value;

use crate::app::Failure;
use crate::cli::console::{Console, console};
use crate::cli::{say, tell};
use crate::config::Settings;
use crate::domain::api_key::{LookupText, Overlap};
use crate::domain::{Actor, ApiKeyId, Error, Noun, Result as Done};
use crate::model::ApiKey;
use crate::services::api_keys;
use crate::store::{Scope, Tx};
use crate::web::api::api_keys::KeyBody;

#[derive(Debug, Args)]
pub struct Which {
    /// Key by its id (7), public id (pk_…) or hint (sk_3kTq…9xZ2). Never its secret.
    key: String,
}

impl Which {
    fn clue(&self) -> Result<LookupText, Failure> {
        match LookupText::read(&self.key) {
            clue @ (LookupText::Id(_) | LookupText::PublicId(_) | LookupText::Hint(_)) => Ok(clue),
            LookupText::Secret { .. } | LookupText::Mistyped => Err(Failure::new(
                "this is a secret, and all users of this machine can see it on a command line: name the key by its id or hint",
            )),
            _ => Err(Failure::new("a key is named by its id (7), its public id (pk_…) or its hint (sk_3kTq…9xZ2)")),
        }
    }
}

/// Finds the key, deleted or not.
fn find(tx: &mut Tx<'_>, clue: &LookupText) -> Done<ApiKey> {
    let mut found = api_keys::matching(tx, Scope::Instance, clue)?;
    match (found.pop(), found.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), _) => Err(Error::conflict("several keys have this hint: name one by its id")),
        (None, _) => Err(Error::NotFound(Noun::ApiKey)),
    }
}

/// Acts on a key and prints the result.
pub fn run(
    settings: &Settings,
    which: &Which,
    json: bool,
    done: &str,
    act: impl FnOnce(&mut Tx<'_>, &Actor, ApiKeyId) -> Done<ApiKey>,
) -> Result<(), Failure> {
    let clue = which.clue()?;
    let mut house = Console::open(settings)?;
    let now = house.clock.now();
    let key = house.tx(|tx, _| {
        let key = find(tx, &clue)?;
        act(tx, &console(key.tenant_id), key.id)
    })?;
    let says = format!("Key {} ({}) is {done}", key.id, key.name);
    tell(json, &value(KeyBody::new(key, now))?, &says)
}

pub fn show(settings: &Settings, which: &Which, json: bool) -> Result<(), Failure> {
    let clue = which.clue()?;
    let mut house = Console::open(settings)?;
    let now = house.clock.now();
    let key = house.tx(|tx, _| find(tx, &clue))?;
    let body = value(KeyBody::new(key, now))?;
    if json {
        return say(&body.to_string());
    }
    for (name, value) in body.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say(&format!("{name:<20} {text}"))?;
    }
    Ok(())
}

pub fn rotate(settings: &Settings, which: &Which, overlap: Option<i64>, json: bool) -> Result<(), Failure> {
    let (clue, overlap) = (which.clue()?, Overlap::parse(overlap)?);
    let mut house = Console::open(settings)?;
    let now = house.clock.now();
    let rotated = house.tx(|tx, hasher| {
        let key = find(tx, &clue)?;
        api_keys::rotate(tx, &console(key.tenant_id), hasher, key.id, overlap)
    })?;
    let (key, secret, old) = (rotated.minted.key, rotated.minted.secret.reveal_once(), rotated.replaced);
    if json {
        return say(&value(KeyBody::revealed(key, Some(secret), now))?.to_string());
    }
    let until = match old.is_rotated_out(now) {
        true => "is refused from now on".to_owned(),
        false => format!("is accepted for another {} seconds", overlap.seconds()),
    };
    eprintln!("Key {} ({}) replaces key {}, which {until}.", key.id, key.name, old.id);
    eprintln!("Save its secret: it is not shown again.");
    say(&secret)
}

fn value(body: KeyBody<'_>) -> Result<Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::new(error.to_string()))
}

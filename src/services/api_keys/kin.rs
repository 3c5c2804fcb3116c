//! Look-up of keys by rotation, or by a text that a person has, such as a secret, a public id or a hint.

use diesel::pg::PgConnection;

use crate::domain::api_key::Clue;
use crate::domain::{Actor, ApiKeyId, Permission, Result};
use crate::model::ApiKey;
use crate::store::{self, Scope, Tx};

/// Predecessor and successor of a key. `None` if there is none, or if it is deleted.
#[derive(Debug, Clone, Default)]
pub struct Kin {
    pub before: Option<ApiKey>,
    pub after: Option<ApiKey>,
}

pub fn kin(conn: &mut PgConnection, actor: &Actor, key: &ApiKey) -> Result<Kin> {
    actor.must(Permission::ReadKeys)?;
    let mut find = |id: Option<ApiKeyId>| match id {
        Some(id) => store::api_keys::find(conn, actor.tenant, id),
        None => Ok(None),
    };
    Ok(Kin { before: find(key.rotation.rotated_from)?, after: find(key.rotation.rotated_to)? })
}

/// Returns keys that a clue may mean, including deleted keys that can be restored. Does not verify secrets. The caller
/// has checked that the actor may read the scope.
pub fn matching(tx: &mut Tx<'_>, scope: Scope, clue: &Clue) -> Result<Vec<ApiKey>> {
    let now = tx.now;
    const MOST: i64 = 11;
    let found = match clue {
        Clue::Secret { public_id, .. } | Clue::PublicId(public_id) => {
            store::api_keys::find_by_public_id(tx, scope, public_id, now)?
        }
        Clue::Id(id) => store::api_keys::find_kept(tx, scope, *id, now)?,
        Clue::Hint(hint) => return store::api_keys::find_by_hint(tx, scope, hint, MOST, now),
        Clue::Empty | Clue::Mistyped | Clue::Foreign(_) | Clue::Unreadable => None,
    };
    Ok(found.into_iter().collect())
}

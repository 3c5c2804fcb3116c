//! Look-up of keys by rotation, or by a text that a person has, such as a secret, a public id or a hint.

use diesel::pg::PgConnection;

use crate::domain::api_key::LookupText;
use crate::domain::{Actor, ApiKeyId, Permission, Result};
use crate::model::ApiKey;
use crate::store::{self, Scope, Tx};

/// Predecessor and successor of a key. `None` if there is none, or if it is deleted.
#[derive(Debug, Clone, Default)]
pub struct LineageNeighbors {
    pub before: Option<ApiKey>,
    pub after: Option<ApiKey>,
}

pub fn neighbors(conn: &mut PgConnection, actor: &Actor, key: &ApiKey) -> Result<LineageNeighbors> {
    actor.must(Permission::ReadKeys)?;
    let mut find = |id: Option<ApiKeyId>| match id {
        Some(id) => store::api_keys::find(conn, actor.tenant, id),
        None => Ok(None),
    };
    Ok(LineageNeighbors { before: find(key.rotation.rotated_from)?, after: find(key.rotation.rotated_to)? })
}

/// Keys with one hint that a look-up shows. One more is read, so that the cut is noticed.
pub const MOST_ALIKE: i64 = 10;

/// Returns keys that a clue may mean, including deleted keys that can be restored. Does not verify secrets. The caller
/// has checked that the actor may read the scope.
pub fn matching(tx: &mut Tx<'_>, scope: Scope, clue: &LookupText) -> Result<Vec<ApiKey>> {
    let now = tx.now;
    let found = match clue {
        LookupText::Secret { public_id, .. } | LookupText::PublicId(public_id) => {
            store::api_keys::find_by_public_id(tx, scope, public_id, now)?
        }
        LookupText::Id(id) => store::api_keys::find_kept(tx, scope, *id, now)?,
        LookupText::Hint(hint) => return store::api_keys::find_by_hint(tx, scope, hint, MOST_ALIKE + 1, now),
        LookupText::Empty | LookupText::Mistyped | LookupText::Foreign(_) | LookupText::Unreadable => None,
    };
    Ok(found.into_iter().collect())
}

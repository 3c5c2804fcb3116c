//! Identity of the instance: its id, and fingerprints of the secrets that its data needs.

use diesel::pg::PgConnection;
use uuid::Uuid;

use crate::domain::digest::Peppers;
use crate::domain::vault::Vault;
use crate::domain::{Error, Result};
use crate::store;

const PEPPER: &str = "pepper_fingerprint";
const MASTER_KEY: &str = "master_key_fingerprint";
const ID: &str = "id";

/// Refuses to start with other secrets than last time: every key would be unknown, and no webhook could be signed. A
/// pepper or master key can be replaced while the old one stays in the list of retired ones.
pub fn recognize(conn: &mut PgConnection, peppers: &Peppers, vault: &Vault) -> Result<()> {
    compare(conn, peppers, vault)?;
    store::instance_facts::upsert(conn, PEPPER, &peppers.current.fingerprint())?;
    store::instance_facts::upsert(conn, MASTER_KEY, &vault.fingerprint())
}

/// Compares the secrets with the fingerprints in the database, like [`recognize`], and writes nothing.
pub fn compare(conn: &mut PgConnection, peppers: &Peppers, vault: &Vault) -> Result<()> {
    let known = store::instance_facts::find(conn, PEPPER)?;
    let is_held =
        |known: &String| std::iter::once(&peppers.current).chain(&peppers.old).any(|held| held.fingerprint() == *known);
    if known.as_ref().is_some_and(|known| !is_held(known)) {
        return Err(Error::conflict(
            "API_KEY_PEPPER is not the pepper of this database's keys: set that pepper, or add it to API_KEY_PEPPERS_OLD",
        ));
    }
    let known_key = store::instance_facts::find(conn, MASTER_KEY)?;
    if known_key.is_some_and(|known| !vault.holds(&known)) {
        return Err(Error::conflict(
            "GATEPOST_MASTER_KEY is not the key that sealed this database's signing secrets: set that key, or add it to GATEPOST_MASTER_KEYS_OLD",
        ));
    }
    let foreign = store::sealed::count_foreign(conn, &vault.marks())?;
    if 0 < foreign {
        return Err(Error::conflict(format!(
            "{foreign} secrets are sealed with a master key that is not set: add it to GATEPOST_MASTER_KEYS_OLD, and run `gatepost secrets rotate` before you remove it",
        )));
    }
    Ok(())
}

/// Returns the id of this instance, shared by all its replicas. It tells instances apart that share a server, such as
/// one Redis.
pub fn id(conn: &mut PgConnection) -> Result<String> {
    if let Some(known) = store::instance_facts::find(conn, ID)? {
        return Ok(known);
    }
    // The first of several concurrent writers wins; the others read its id.
    store::instance_facts::insert_unless_known(conn, ID, &Uuid::new_v4().simple().to_string())?;
    store::instance_facts::find(conn, ID)?.ok_or_else(|| Error::bug("this instance has no id"))
}

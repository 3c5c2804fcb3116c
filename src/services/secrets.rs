//! Re-sealing of stored secrets with the current master key, in batches, without downtime.

use diesel::pg::PgConnection;
use serde_json::Map;

use super::audit::{self, AuditedAct};
use super::{Operator, mail, second_factor, webhooks};
use crate::domain::vault::Vault;
use crate::domain::{Error, Result, UserId, WebhookId};
use crate::model::Webhook;
pub use crate::store::sealed::OfKey;
use crate::store::sealed::{Sealed, SecretTable};
use crate::store::{self, Tx};

/// Progress of a re-sealing run: the next batch starts here.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResealCursor {
    /// Index into the list of tables.
    table: usize,
    /// Key of the last row done.
    after: i64,
}

/// Result of a batch.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub resealed: usize,
    /// Names of secrets that no given master key opens.
    pub unopened: Vec<String>,
    /// Start of the next batch. `None` at the end.
    pub next: Option<ResealCursor>,
}

/// Re-seals up to `size` secrets of other master keys. A secret that changes meanwhile is left to the next run.
pub fn reseal(conn: &mut PgConnection, vault: &Vault, from: ResealCursor, size: i64) -> Result<Batch> {
    let Some(kept) = SecretTable::ALL.get(from.table).copied() else { return reseal_headers(conn, vault, from, size) };
    let rows = store::sealed::list_others(conn, kept, &vault.mark(), from.after, size)?;
    let mut batch = Batch::default();
    for row in &rows {
        let name = bound_to(kept, row);
        match vault.open(row.tenant, &name, &row.sealed) {
            Ok(plain) => {
                let plain = zeroize::Zeroizing::new(plain);
                let sealed = vault.seal(row.tenant, &name, &plain)?;
                batch.resealed += usize::from(store::sealed::replace(conn, kept, row, &sealed)?);
            }
            Err(Error::Bug(_)) => batch.unopened.push(name),
            Err(error) => return Err(error),
        }
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == size);
    batch.next = match rows.last().filter(|_| is_full) {
        Some(last) => Some(ResealCursor { after: last.key, ..from }),
        None => Some(ResealCursor { table: from.table + 1, after: 0 }),
    };
    Ok(batch)
}

/// Re-seals the header values of up to `size` webhooks. Runs after the last of the tables.
fn reseal_headers(conn: &mut PgConnection, vault: &Vault, from: ResealCursor, size: i64) -> Result<Batch> {
    let rows = store::sealed::lock_headers(conn, &vault.mark(), from.after, size)?;
    let mut batch = Batch::default();
    for (tenant, id, headers) in &rows {
        match webhooks::headers::reseal(vault, *tenant, *id, headers) {
            Ok(sealed) => {
                store::webhooks::update_headers(conn, *tenant, *id, &sealed)?;
                batch.resealed += sealed.as_object().map_or(0, Map::len);
            }
            Err(Error::Bug(_)) => batch.unopened.push(format!("the headers of {}", Webhook::vault_name(*id))),
            Err(error) => return Err(error),
        }
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == size);
    batch.next = rows.last().filter(|_| is_full).map(|(_, id, _)| ResealCursor { after: id.0, ..from });
    Ok(batch)
}

/// Returns the name that the vault binds a secret to.
fn bound_to(kept: SecretTable, row: &Sealed) -> String {
    match kept {
        SecretTable::SigningSecrets => Webhook::vault_name(WebhookId(row.owner)),
        SecretTable::SecondFactors => second_factor::row_of(UserId(row.owner)),
        SecretTable::Mails => mail::row_of(row.owner),
    }
}

/// Records the run and the number of re-sealed secrets in the audit log.
pub fn note(tx: &mut Tx<'_>, who: &Operator, vault: &Vault, resealed: usize) -> Result<()> {
    let deed = AuditedAct::new("secrets.rotated", "instance")
        .with("master_key", vault.fingerprint())
        .with("resealed", resealed);
    audit::record_for_instance(tx, who, None, deed)
}

/// Counts stored secrets by master key.
pub fn by_key(conn: &mut PgConnection) -> Result<Vec<OfKey>> {
    store::sealed::count_by_key(conn)
}

//! Verification of the audit log: each entry must match its hash, follow the entry before it, and none may be missing.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use crate::domain::{AuditEntryId, Error, Noun, Result, TenantId, audit};
use crate::model::{AuditChain, AuditEntry};
use crate::store;

/// Version prefix of the hashed fields.
const FORM: &str = "gatepost audit 1";
const BATCH: i64 = 1_000;
/// Chain id of the instance itself.
pub const INSTANCE: TenantId = TenantId(0);

/// Result of reading a chain from beginning to end.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Slug of the tenant. `None` for the instance itself.
    pub slug: Option<String>,
    /// Number of intact entries.
    pub entries: i64,
    /// Hash of the last intact entry, in hex. A copy kept elsewhere reveals a chain that was rewritten as a whole.
    pub head: String,
    /// First broken entry, if there is one.
    pub broken: Option<Break>,
}

/// First entry that does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Position in the chain.
    pub seq: i64,
    /// Id, action and time of the entry. `None` if it is missing.
    pub entry: Option<(AuditEntryId, String, DateTime<Utc>)>,
    pub says: &'static str,
}

/// Verifies all chains, or one tenant's. The transaction needs a snapshot, so that chains do not grow meanwhile.
pub fn verify(conn: &mut PgConnection, slug: Option<&str>) -> Result<Vec<Reading>> {
    let chains = store::audit_entries::chains(conn)?;
    let wanted = match slug {
        Some(slug) => vec![store::tenants::find_any_by_slug(conn, slug)?.ok_or(Error::NotFound(Noun::Tenant))?.id],
        None => {
            let mut all = store::audit_entries::chains_of_entries(conn)?;
            all.extend(chains.iter().map(|chain| chain.tenant_id));
            all.sort_unstable();
            all.dedup();
            all
        }
    };
    wanted.into_iter().map(|id| read(conn, id, chains.iter().find(|chain| chain.tenant_id == id))).collect()
}

fn read(conn: &mut PgConnection, id: TenantId, chain: Option<&AuditChain>) -> Result<Reading> {
    let slug = match id {
        INSTANCE => None,
        _ => Some(store::tenants::find_any(conn, id)?.map_or_else(|| format!("tenant {id}"), |tenant| tenant.slug)),
    };
    let mut walk = Walk::from(chain);
    let broken = loop {
        let links = store::audit_entries::links(conn, id, walk.seq, BATCH)?;
        if links.is_empty() {
            break walk.end(chain);
        }
        if let Some(broken) = links.iter().find_map(|(entry, details)| walk.step(entry, details)) {
            break Some(broken);
        }
    };
    Ok(Reading { slug, entries: walk.entries, head: hex::encode(&walk.hash), broken })
}

/// Progress along a chain: position and hash of the last intact entry.
struct Walk {
    seq: i64,
    hash: Vec<u8>,
    entries: i64,
}

impl Walk {
    fn from(chain: Option<&AuditChain>) -> Self {
        let (seq, hash) = chain.map_or((0, Vec::new()), |chain| (chain.pruned_seq, chain.pruned_hash.clone()));
        Self { seq, hash, entries: 0 }
    }

    fn step(&mut self, entry: &AuditEntry, details: &str) -> Option<Break> {
        let expected = self.seq + 1;
        let at = |says| {
            let named = (entry.id, entry.action.clone(), entry.created_at);
            Some(Break { seq: entry.seq, entry: Some(named), says })
        };
        if entry.seq != expected {
            return Some(Break { seq: expected, entry: None, says: "it is missing" });
        }
        if entry.previous_hash != self.hash {
            return at("it does not follow the previous entry");
        }
        if entry.hash != hash_of(entry, details) {
            return at("it was changed after it was written");
        }
        (self.seq, self.hash) = (entry.seq, entry.hash.clone());
        self.entries += 1;
        None
    }

    /// Checks that the chain ends at its recorded end.
    fn end(&self, chain: Option<&AuditChain>) -> Option<Break> {
        match chain {
            None if self.entries == 0 => None,
            None => Some(Break { seq: self.seq, entry: None, says: "the record of the chain's end is missing" }),
            Some(chain) if self.seq < chain.seq => {
                Some(Break { seq: self.seq + 1, entry: None, says: "it is missing" })
            }
            Some(chain) if chain.seq < self.seq || chain.hash != self.hash => {
                let says = "the record of the chain's end does not match the last entry";
                Some(Break { seq: self.seq, entry: None, says })
            }
            Some(_) => None,
        }
    }
}

/// Computes an entry's hash like the database function `audit_hash`.
fn hash_of(entry: &AuditEntry, details: &str) -> [u8; 32] {
    let number = |id: Option<i64>| id.map(|id| id.to_string());
    let (previous, seq, id) = (hex::encode(&entry.previous_hash), entry.seq.to_string(), entry.id.to_string());
    let (tenant, user) = (number(entry.tenant_id.map(|id| id.0)), number(entry.user_id.map(|id| id.0)));
    let at = entry.created_at.timestamp_micros().to_string();
    audit::hash(&[
        Some(FORM),
        Some(&previous),
        Some(&seq),
        Some(&id),
        tenant.as_deref(),
        user.as_deref(),
        Some(&entry.actor),
        Some(entry.via.as_str()),
        Some(&entry.action),
        Some(&entry.target),
        Some(details),
        entry.ip.as_deref(),
        entry.request_id.as_deref(),
        Some(&at),
    ])
}

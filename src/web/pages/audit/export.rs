//! CSV lines of audit entries (RFC 4180), in which no cell is a formula.

use chrono::SecondsFormat;

use crate::model::AuditEntry;
use crate::web::view::csv;

/// Header line of the file.
pub const HEAD: &str = "id,created_at,actor,via,action,target,details,ip,request_id,seq,hash\r\n";

/// Returns an entry as one line.
pub fn line(entry: &AuditEntry) -> String {
    csv::line(&[
        entry.id.to_string(),
        entry.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        entry.actor.clone(),
        entry.via.to_string(),
        entry.action.clone(),
        entry.target.clone(),
        entry.details.to_string(),
        entry.ip.clone().unwrap_or_default(),
        entry.request_id.clone().unwrap_or_default(),
        entry.seq.to_string(),
        hex::encode(&entry.hash),
    ])
}

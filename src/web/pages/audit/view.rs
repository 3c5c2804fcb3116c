//! View types of the audit log.

use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::audit;
use crate::model::AuditEntry;
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::filter::href;
use crate::web::view::{Chip, Choice, Pager, When, text};

/// Maximum number of characters shown of a value.
const SHOWN: usize = 500;

/// Page with the audit log.
#[derive(Template)]
#[template(path = "audit/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub actor: String,
    pub target: String,
    pub from: String,
    pub to: String,
    pub actions: Vec<Choice>,
    /// Choice between the log of the tenant and of the instance. Empty unless the user is an operator.
    pub logs: Vec<Choice>,
    pub csv: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

/// Audit entry as the page shows it.
pub struct Row {
    /// Description of the change, such as `Changed a key`.
    pub deed: String,
    /// Name of the change for programs.
    pub action: String,
    /// Name of the changed resource, or empty.
    pub name: String,
    /// Changed resource, such as `api_key:7`.
    pub target: String,
    /// URL of the changed resource, or empty.
    pub page: String,
    /// URL of the log filtered by this target.
    pub others: String,
    pub actor: String,
    pub via: String,
    pub address: String,
    pub request_id: String,
    pub at: When,
    pub changes: Vec<Change>,
    pub facts: Vec<(String, String)>,
    pub seq: i64,
    /// First characters of the hash.
    pub hash_short: String,
    /// Whole hash in hex.
    pub hash: String,
}

/// Changed field with its old and new value.
pub struct Change {
    pub field: String,
    pub before: String,
    pub after: String,
}

/// Returns an entry as a row of the page.
pub fn row(entry: AuditEntry, now: DateTime<Utc>) -> Row {
    let details = entry.details.as_object().cloned().unwrap_or_default();
    let hash = hex::encode(&entry.hash);
    Row {
        deed: text::capitalized(audit::words(&entry.action)),
        action: entry.action,
        name: details.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        page: page_of(&entry.target),
        others: href(urls::AUDIT, &[("target", &entry.target)]),
        target: entry.target,
        actor: entry.actor,
        via: entry.via.to_string(),
        address: entry.ip.unwrap_or_default(),
        request_id: entry.request_id.unwrap_or_default(),
        at: When::new(entry.created_at, now),
        changes: changes(&details),
        facts: facts(&details),
        seq: entry.seq,
        hash_short: hash.chars().take(12).collect(),
        hash,
    }
}

/// Returns the page of a target such as `api_key:7`, or an empty text.
fn page_of(target: &str) -> String {
    match target.split_once(':') {
        Some(("api_key", id)) => format!("{}/{id}", urls::KEYS),
        Some(("webhook", id)) => format!("{}/{id}", urls::WEBHOOKS),
        Some(("delivery", id)) => format!("{}/{id}", urls::DELIVERIES),
        _ => String::new(),
    }
}

/// Returns the fields that differ between `before` and `after`.
fn changes(details: &Map<String, Value>) -> Vec<Change> {
    let of = |name: &str| details.get(name).and_then(Value::as_object);
    let (Some(before), Some(after)) = (of("before"), of("after")) else { return Vec::new() };
    let differs = after.iter().filter(|(field, value)| before.get(*field) != Some(*value));
    let change = |(field, value): (&String, &Value)| Change {
        field: text::label(field),
        before: before.get(field).map(printed).unwrap_or_default(),
        after: printed(value),
    };
    differs.map(change).collect()
}

/// Returns the other details of an entry. `changed` is left out if `before` and `after` are present, since they say
/// more.
fn facts(details: &Map<String, Value>) -> Vec<(String, String)> {
    let is_told = |name: &str| match name {
        "name" | "before" | "after" => false,
        "changed" => !details.contains_key("before"),
        _ => true,
    };
    let told = details.iter().filter(|(name, _)| is_told(name));
    told.map(|(name, value)| (text::label(name), printed(value))).collect()
}

fn printed(value: &Value) -> String {
    let text = match value {
        Value::Null => "not set".to_owned(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(printed).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_shown_field_by_field() {
        let details = json!({
            "name": "ci", "changed": ["rate_limit"], "sessions_ended": 2,
            "before": {"rate_limit": 10, "tags": [], "owner": "a"}, "after": {"rate_limit": 20, "tags": ["eu"], "owner": "a"},
        });
        let details = details.as_object().unwrap();
        let told: Vec<_> =
            changes(details).into_iter().map(|change| (change.field, change.before, change.after)).collect();
        let told: Vec<_> = told.iter().map(|(field, before, after)| format!("{field}: {before} → {after}")).collect();
        assert_eq!(told, ["Rate limit: 10 → 20", "Tags: none → eu"]);
        assert_eq!(facts(details), [("Sessions ended".to_owned(), "2".to_owned())]);
        assert_eq!(printed(&json!("x".repeat(600))).chars().count(), 501);
    }
}

//! What the audit log shows of an entry.

use askama::Template;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::domain::audit;
use crate::model::AuditEntry;
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::filter::href;
use crate::web::view::{Chip, Choice, Pager, When, text};

/// Characters of a value that are shown.
const SHOWN: usize = 500;

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
    /// For operators: the tenant's log, or that of the instance.
    pub logs: Vec<Choice>,
    pub csv: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    /// `Changed a key`
    pub deed: String,
    /// As programs say it.
    pub action: String,
    /// The thing's name, or nothing.
    pub name: String,
    /// `api_key:7`
    pub target: String,
    /// Where the thing is, or nothing.
    pub page: String,
    /// The log of this target.
    pub others: String,
    pub actor: String,
    pub via: String,
    pub address: String,
    pub request_id: String,
    pub at: When,
    pub changes: Vec<Change>,
    pub facts: Vec<(String, String)>,
    pub seq: i64,
    /// The hash's first characters, and all of it.
    pub hash_short: String,
    pub hash: String,
}

/// One field, as it was and as it is.
pub struct Change {
    pub field: String,
    pub before: String,
    pub after: String,
}

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

/// `api_key:7` has a page of its own.
fn page_of(target: &str) -> String {
    match target.split_once(':') {
        Some(("api_key", id)) => format!("{}/{id}", urls::KEYS),
        Some(("webhook", id)) => format!("{}/{id}", urls::WEBHOOKS),
        Some(("delivery", id)) => format!("{}/{id}", urls::DELIVERIES),
        _ => String::new(),
    }
}

/// The fields of `before` and `after` that differ.
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

/// What else was noted; `changed` says less than `before` and `after`, where they are there.
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
        Value::Null => "nothing".to_owned(),
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
    fn what_changed_is_told_field_by_field() {
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

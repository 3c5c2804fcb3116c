//! What the pages about webhooks show.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::pages::api_keys::view::Range;
use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chart, Chip, Choice, Pager, Snippet, Spark, When};

#[derive(Template)]
#[template(path = "webhooks/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub search: String,
    pub states: Vec<Choice>,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub id: i64,
    pub name: String,
    pub url: String,
    pub state: Badge,
    pub events: Vec<String>,
    pub more_events: usize,
    pub spark: Spark,
    /// Of the last 7 days.
    pub failures: String,
    pub last_success: Option<When>,
}

/// The form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookForm {
    pub nonce: String,
    /// When the webhook was written that the form was filled with.
    pub seen: String,
    pub name: String,
    pub url: String,
    /// One a line.
    pub events: String,
    pub secret: String,
    pub payload_format: String,
    pub signature_style: String,
    pub timeout_seconds: String,
    pub max_in_flight: String,
    pub rate_per_second: String,
    /// Waits as people say them, separated by commas; empty for the usual ones.
    pub retry_schedule: String,
    /// `Name: value`, one a line; a masked value stays what it is.
    pub headers: String,
    /// Only of a new webhook: whether it signs with a key pair besides.
    pub ed25519: bool,
}

pub struct Fields {
    pub formats: Vec<Choice>,
    pub styles: Vec<Choice>,
    /// The retry schedule in words.
    pub schedule: String,
}

#[derive(Template)]
#[template(path = "webhooks/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: WebhookForm,
    pub fields: Fields,
    pub errors: FieldErrors,
    pub is_detailed: bool,
}

#[derive(Template)]
#[template(path = "webhooks/edit.html")]
pub struct Edit {
    /// Whether somebody else saved it while this form was open.
    pub is_stale: bool,
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub form: WebhookForm,
    pub fields: Fields,
    pub errors: FieldErrors,
}

#[derive(Template)]
#[template(path = "webhooks/show.html")]
pub struct Show {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub url: String,
    pub state: Badge,
    /// Why it was disabled, or since when it fails.
    pub trouble: Option<Trouble>,
    pub is_disabled: bool,
    pub ranges: Vec<Range>,
    pub median: String,
    /// What one in twenty exceeds: `p95 230 ms`.
    pub slow: String,
    pub last_failure: Option<When>,
    pub next_due: Option<When>,
    pub is_active: bool,
    pub events: Vec<String>,
    pub format: String,
    pub style: String,
    pub timeout: String,
    pub in_flight: String,
    pub rate: String,
    pub retries: String,
    pub created: When,
    pub last_success: Option<When>,
    /// In clear, on the one answer that was asked for it.
    pub secret: Option<String>,
    /// Names with masks, or with their values on the one answer that was asked for them.
    pub headers: Vec<(String, String)>,
    pub are_headers_shown: bool,
    /// Those that sign now, newest first.
    pub keys: Vec<Key>,
    /// True if this person may edit, test and pause the webhook.
    pub may_change: bool,
    pub may_reveal: bool,
    pub secrets_note: String,
    pub delivered: String,
    pub failed: String,
    pub success_rate: String,
    pub pending: String,
    pub chart: Chart,
    pub deliveries: Vec<crate::web::pages::deliveries::view::Row>,
    pub test_type: String,
    pub errors: FieldErrors,
    pub snippets: Vec<Snippet>,
    pub pause: Ask,
    pub rotate: Ask,
    pub rotate_key: Ask,
    pub remove_key: Ask,
    pub delete: Ask,
}

/// What is wrong with a webhook, in sentences, and the way out of it.
pub struct Trouble {
    pub says: String,
    pub way: Way,
}

/// What can be done about it; a probe by the id of its delivery.
pub enum Way {
    None,
    Probe,
    Wait(String),
    Again(String),
}

/// A public key that receivers may verify with.
pub struct Key {
    pub text: String,
    /// When it ends, where a newer one has taken over.
    pub until: Option<When>,
}

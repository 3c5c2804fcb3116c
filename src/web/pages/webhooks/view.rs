//! View types of the pages about webhooks.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::pages::api_keys::view::Range;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chart, Chip, Choice, Confirmation, Pager, Snippet, Spark, When};

/// Page with the list of webhooks.
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

/// Webhook in the list.
pub struct Row {
    pub id: i64,
    pub name: String,
    pub url: String,
    pub state: Badge,
    pub events: Vec<String>,
    pub more_events: usize,
    pub spark: Spark,
    /// Share of failed attempts in the last 7 days.
    pub failures: String,
    pub last_success: Option<When>,
}

/// Form of a webhook as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookForm {
    pub nonce: String,
    /// Time of the webhook's last change when the form was filled, to detect concurrent changes.
    pub seen: String,
    pub name: String,
    pub url: String,
    /// Patterns of event types, one per line.
    pub events: String,
    pub secret: String,
    pub payload_format: String,
    pub signature_style: String,
    pub timeout_seconds: String,
    pub max_in_flight: String,
    pub rate_per_second: String,
    /// Waits before each retry, such as `5 min`, separated by commas. Empty: the default schedule.
    pub retry_schedule: String,
    /// Additional headers as `Name: value`, one per line. A masked value keeps the stored one.
    pub headers: String,
    /// True: requests are also signed with a key pair. Only in the form of a new webhook.
    pub ed25519: bool,
}

/// Options of the form.
pub struct Fields {
    pub formats: Vec<Choice>,
    pub styles: Vec<Choice>,
    /// Default retry schedule as a sentence.
    pub schedule: String,
}

/// Page with the form of a new webhook.
#[derive(Template)]
#[template(path = "webhooks/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: WebhookForm,
    pub fields: Fields,
    pub errors: FieldErrors,
    pub is_detailed: bool,
}

/// Page with the form of an existing webhook.
#[derive(Template)]
#[template(path = "webhooks/edit.html")]
pub struct Edit {
    /// True if another user saved the webhook while this form was open.
    pub is_stale: bool,
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub form: WebhookForm,
    pub fields: Fields,
    pub errors: FieldErrors,
}

/// Page of one webhook.
#[derive(Template)]
#[template(path = "webhooks/show.html")]
pub struct Show {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub url: String,
    pub state: Badge,
    /// Description of a problem, such as why the webhook was disabled or since when it fails.
    pub trouble: Option<Trouble>,
    pub is_disabled: bool,
    pub ranges: Vec<Range>,
    pub median: String,
    /// Duration that one attempt in twenty exceeds, such as `p95 230 ms`.
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
    /// Plain secret, only in the response that reveals it.
    pub secret: Option<String>,
    /// Names and masked values, or plain values in the response that reveals them.
    pub headers: Vec<(String, String)>,
    pub are_headers_shown: bool,
    /// Public keys that currently sign, newest first.
    pub keys: Vec<Key>,
    /// True if the user may edit, test and pause the webhook.
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
    pub pause: Confirmation,
    pub rotate: Confirmation,
    pub rotate_key: Confirmation,
    pub remove_key: Confirmation,
    pub delete: Confirmation,
}

/// Description of a webhook's problem, with the user's next step.
pub struct Trouble {
    pub says: String,
    pub way: NextStep,
}

/// Next step to solve a problem. A probe is named by the id of its delivery.
pub enum NextStep {
    None,
    /// Send a first probe.
    Probe,
    /// Wait for the probe.
    Wait(String),
    /// Send another probe after a failed one.
    Again(String),
}

/// Public key with which receivers may verify.
pub struct Key {
    pub text: String,
    /// When the key stops signing, if a newer key has replaced it.
    pub until: Option<When>,
}

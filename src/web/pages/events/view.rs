//! View types of the pages about events.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Chip, Pager, Snippet, When};

/// Page with the list of events.
#[derive(Template)]
#[template(path = "events/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub kind: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

/// Event in the list.
pub struct Row {
    pub id: String,
    pub kind: String,
    /// Start of the payload, on one line.
    pub payload: String,
    pub created: When,
}

/// Publish form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventForm {
    /// Random value that makes a repeated submission publish nothing.
    pub nonce: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub data: String,
}

/// Page with the publish form.
#[derive(Template)]
#[template(path = "events/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: EventForm,
    pub errors: FieldErrors,
    pub snippets: Vec<Snippet>,
}

/// Page of one event.
#[derive(Template)]
#[template(path = "events/show.html")]
pub struct Show {
    pub shell: Shell,
    pub id: String,
    pub kind: String,
    pub payload: String,
    pub size: String,
    pub source: String,
    pub created: When,
    /// True if the event has more deliveries than these.
    pub deliveries_are_capped: bool,
    pub deliveries: Vec<crate::web::pages::deliveries::view::Row>,
}

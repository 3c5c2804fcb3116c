//! What the pages about events show.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Chip, Pager, Snippet, When};

#[derive(Template)]
#[template(path = "events/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub kind: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub id: String,
    pub kind: String,
    /// The beginning of the payload, on one line.
    pub payload: String,
    pub created: When,
}

/// The publish form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventForm {
    /// Makes a second sending of the same form publish nothing.
    pub nonce: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub data: String,
}

#[derive(Template)]
#[template(path = "events/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: EventForm,
    pub errors: FieldErrors,
    pub snippets: Vec<Snippet>,
}

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
    pub deliveries: Vec<crate::web::pages::deliveries::view::Row>,
}

//! What the pages about deliveries show.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chip, Choice, Pager, Snippet, When};

#[derive(Template)]
#[template(path = "deliveries/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub states: Vec<Choice>,
    pub statuses: Vec<Choice>,
    pub webhooks: Vec<Choice>,
    pub kind: String,
    /// As typed: `2026-11-22T12:00`, in UTC.
    pub since: String,
    pub until: String,
    pub event_id: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub id: String,
    pub kind: String,
    pub webhook_id: i64,
    pub webhook: String,
    pub state: Badge,
    pub status: Option<Badge>,
    /// `2 of 10`
    pub attempts: String,
    pub next: Option<When>,
    pub created: When,
}

#[derive(Template)]
#[template(path = "deliveries/show.html")]
pub struct Show {
    pub shell: Shell,
    pub id: String,
    pub kind: String,
    pub state: Badge,
    pub event_id: String,
    pub webhook_id: i64,
    pub webhook: String,
    pub is_webhook_there: bool,
    pub url: String,
    pub created: When,
    pub finished: Option<When>,
    pub attempts: String,
    /// The number of the attempt that has not come back, and when it began.
    pub under_way: Option<(i64, When)>,
    pub moments: Vec<Moment>,
    pub next: Option<When>,
    pub payload: String,
    pub curl: Vec<Snippet>,
    pub may_redeliver: bool,
    pub may_cancel: bool,
    pub cancel: Ask,
}

/// One attempt.
pub struct Moment {
    pub number: i64,
    pub tone: &'static str,
    pub icon: &'static str,
    pub status: Badge,
    /// The error class and sentence, or nothing.
    pub note: String,
    pub at: When,
    pub duration: String,
    pub address: String,
    /// Nothing of an attempt whose time is not known.
    pub phases: Vec<Phase>,
    pub url: String,
    pub request_body: String,
    pub request_headers: Vec<(String, String)>,
    pub response_headers: Vec<(String, String)>,
    pub response_body: String,
    pub response_size: String,
    pub is_last: bool,
}

/// A phase of an attempt as a piece of a bar that is a thousand wide.
pub struct Phase {
    pub name: &'static str,
    pub class: &'static str,
    pub time: String,
    pub x: i64,
    pub width: i64,
}

//! View types of the pages about deliveries.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::{Badge, Chip, Choice, Confirmation, Pager, Snippet, When};

/// Page with the list of deliveries.
#[derive(Template)]
#[template(path = "deliveries/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub states: Vec<Choice>,
    pub statuses: Vec<Choice>,
    pub webhooks: Vec<Choice>,
    /// True if the tenant has more webhooks than the filter offers.
    pub has_more_webhooks: bool,
    pub kind: String,
    /// Start of the time span as typed, such as `2026-11-22T12:00`, in UTC.
    pub since: String,
    /// End of the time span as typed, in UTC.
    pub until: String,
    pub event_id: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

/// Delivery in a list.
pub struct Row {
    pub id: String,
    pub kind: String,
    pub webhook_id: i64,
    pub webhook: String,
    pub state: Badge,
    pub status: Option<Badge>,
    /// Attempts made and allowed, such as `2 of 10`.
    pub attempts: String,
    pub next: Option<When>,
    pub created: When,
}

/// Page of one delivery.
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
    /// Number and start of the attempt in progress.
    pub under_way: Option<(i64, When)>,
    pub moments: Vec<Moment>,
    pub next: Option<When>,
    pub payload: String,
    pub curl: Vec<Snippet>,
    pub may_redeliver: bool,
    pub may_cancel: bool,
    pub cancel: Confirmation,
}

/// Attempt in the timeline of a delivery.
pub struct Moment {
    pub number: i64,
    pub tone: &'static str,
    pub icon: &'static str,
    pub status: Badge,
    /// Kind and description of the error, or empty.
    pub note: String,
    pub at: When,
    pub duration: String,
    pub address: String,
    /// Phases of the attempt. Empty if its duration is unknown.
    pub phases: Vec<Phase>,
    pub url: String,
    pub request_body: String,
    pub request_headers: Vec<(String, String)>,
    pub response_headers: Vec<(String, String)>,
    pub response_body: String,
    pub response_size: String,
    pub is_last: bool,
}

/// Phase of an attempt, as a segment of a bar that is 1,000 units wide.
pub struct Phase {
    pub name: &'static str,
    pub class: &'static str,
    pub time: String,
    pub x: i64,
    pub width: i64,
}

//! View types of the pages about usage.

use askama::Template;

use crate::web::pages::api_keys::view::Range;
use crate::web::shell::Shell;
use crate::web::view::{self, Badge, Chart, Chip, Pager, When};

/// Page about usage.
#[derive(Template)]
#[template(path = "usage/index.html")]
pub struct Index {
    pub shell: Shell,
    pub ranges: Vec<Range>,
    /// First day shown, as a date input holds it.
    pub from: String,
    /// Last day shown, as a date input holds it.
    pub to: String,
    pub total: String,
    pub refused: String,
    pub success_rate: String,
    /// Latency percentiles p50, p95 and p99.
    pub latency: Option<[String; 3]>,
    /// Says so if the percentiles are those of a part of the requests.
    pub latency_note: String,
    pub chart: Chart,
    pub groupings: Vec<Choice>,
    pub group_noun: &'static str,
    pub groups: Vec<Group>,
    /// True if there may be more groups than are shown.
    pub is_cut: bool,
    pub csv: String,
    pub limits: Vec<Near>,
    pub refusals: Vec<Row>,
}

/// Key that is near one of its limits, with that limit.
pub struct Near {
    pub id: i64,
    pub name: String,
    pub limit: String,
    pub window: String,
    pub used: String,
    pub quota: String,
    pub percent: u64,
}

/// Link to another grouping of the same data.
pub struct Choice {
    pub label: &'static str,
    pub href: String,
    pub is_current: bool,
}

/// Group in the breakdown.
pub struct Group {
    pub name: String,
    pub href: String,
    pub total: String,
    pub valid: String,
    pub refused: String,
    /// Percentage of the largest group.
    pub part: i64,
}

/// Log of verifications.
#[derive(Template)]
#[template(path = "usage/records.html")]
pub struct Records {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub request: String,
    pub key: String,
    pub outcomes: Vec<view::Choice>,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

/// Usage record in a list.
pub struct Row {
    pub at: When,
    pub outcome: Badge,
    /// Reason of the refusal. Empty for a valid call.
    pub reason: String,
    pub key_id: Option<i64>,
    pub method: String,
    pub endpoint: String,
    pub status: i16,
    pub address: String,
    pub duration: String,
    pub request_id: String,
    /// URL of the list filtered to this record.
    pub href: String,
}

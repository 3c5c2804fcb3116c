//! What the pages about usage show.

use askama::Template;

use crate::web::pages::api_keys::view::Range;
use crate::web::shell::Shell;
use crate::web::view::{self, Badge, Chart, Chip, Pager, When};

#[derive(Template)]
#[template(path = "usage/index.html")]
pub struct Index {
    pub shell: Shell,
    pub ranges: Vec<Range>,
    /// The days that are shown, as a form has them.
    pub from: String,
    pub to: String,
    pub total: String,
    pub refused: String,
    pub success_rate: String,
    /// p50, p95 and p99.
    pub latency: Option<[String; 3]>,
    pub chart: Chart,
    pub groupings: Vec<Choice>,
    pub group_noun: &'static str,
    pub groups: Vec<Group>,
    /// There are more groups than are shown.
    pub is_cut: bool,
    pub csv: String,
    pub limits: Vec<Near>,
    pub refusals: Vec<Row>,
}

/// A key and the limit that it is nearest to.
pub struct Near {
    pub id: i64,
    pub name: String,
    pub limit: String,
    pub window: String,
    pub used: String,
    pub quota: String,
    pub percent: u64,
}

/// One of several views of the same.
pub struct Choice {
    pub label: &'static str,
    pub href: String,
    pub is_current: bool,
}

pub struct Group {
    pub name: String,
    pub href: String,
    pub total: String,
    pub valid: String,
    pub refused: String,
    /// Percent of the largest.
    pub part: i64,
}

/// The log of verifications.
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

pub struct Row {
    pub at: When,
    pub outcome: Badge,
    /// Empty for a valid one.
    pub reason: String,
    pub key_id: Option<i64>,
    pub method: String,
    pub endpoint: String,
    pub status: i16,
    pub address: String,
    pub duration: String,
    pub request_id: String,
    /// The record alone.
    pub href: String,
}

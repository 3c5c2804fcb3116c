//! What the overview shows.

use askama::Template;

use crate::web::pages::api_keys::view::Range;
use crate::web::pages::deliveries::view::Row;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chart};

#[derive(Template)]
#[template(path = "overview/index.html")]
pub struct Index {
    pub shell: Shell,
    pub ranges: Vec<Range>,
    pub stats: Vec<Stat>,
    pub verifications: Chart,
    pub deliveries: Chart,
    /// Webhooks that will be switched off.
    pub warnings: Vec<Warning>,
    pub attention: Vec<Attention>,
    pub failures: Vec<Row>,
    /// Empty once all of it is done.
    pub steps: Vec<Step>,
}

pub struct Stat {
    pub label: &'static str,
    pub value: String,
    pub note: String,
    pub href: &'static str,
}

/// A webhook that will be switched off: its name, and what goes on behind it.
pub struct Warning {
    pub name: String,
    pub href: String,
    pub says: String,
}

/// Something that somebody should look at.
pub struct Attention {
    pub state: Badge,
    pub text: String,
    pub href: String,
}

/// What a new tenant does first.
pub struct Step {
    pub title: &'static str,
    pub text: &'static str,
    pub href: &'static str,
    pub verb: &'static str,
    pub is_done: bool,
}

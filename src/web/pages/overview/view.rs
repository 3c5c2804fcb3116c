//! View types of the overview.

use askama::Template;

use crate::web::pages::api_keys::view::Range;
use crate::web::pages::deliveries::view::Row;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chart};

/// Page with the overview of a tenant.
#[derive(Template)]
#[template(path = "overview/index.html")]
pub struct Index {
    pub shell: Shell,
    pub ranges: Vec<Range>,
    pub stats: Vec<Stat>,
    pub verifications: Chart,
    pub deliveries: Chart,
    /// Webhooks that will be disabled soon.
    pub warnings: Vec<Warning>,
    pub attention: Vec<Attention>,
    /// Labels and addresses of lists that have more to look at than `attention`.
    pub more: Vec<(&'static str, &'static str)>,
    pub failures: Vec<Row>,
    /// First steps. Empty once all are done.
    pub steps: Vec<Step>,
}

/// Figure of the overview.
pub struct Stat {
    pub label: &'static str,
    pub value: String,
    pub note: String,
    pub href: &'static str,
}

/// Webhook that will be disabled soon. The page shows its name, followed by `says`.
pub struct Warning {
    pub name: String,
    pub href: String,
    pub says: String,
}

/// Item that needs attention.
pub struct Attention {
    pub state: Badge,
    pub text: String,
    pub href: String,
}

/// First step of a new tenant.
pub struct Step {
    pub title: &'static str,
    pub text: &'static str,
    pub href: &'static str,
    pub verb: &'static str,
    pub is_done: bool,
}

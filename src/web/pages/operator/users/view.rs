//! What the pages about users show.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chip, Pager, When};

#[derive(Template)]
#[template(path = "operator/users.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub search: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub name: String,
    pub email: String,
    /// Whether somebody has shown that it is theirs.
    pub is_email_confirmed: bool,
    pub state: Badge,
    pub is_active: bool,
    pub is_operator: bool,
    pub is_you: bool,
    pub since: When,
    /// Where activating is posted.
    pub activate: String,
    pub deactivate: Ask,
    pub promote: Ask,
    pub demote: Ask,
    pub reset: Ask,
    /// For those who have one.
    pub remove_factor: Option<Ask>,
}

#[derive(Template)]
#[template(path = "operator/reset_link.html")]
pub struct Link {
    pub shell: Shell,
    pub email: String,
    pub link: String,
}

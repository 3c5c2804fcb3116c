//! View types of the pages about users.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::{Badge, Chip, Confirmation, Pager, When};

/// Page with the list of users.
#[derive(Template)]
#[template(path = "operator/users.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub search: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

/// User in the list.
pub struct Row {
    pub name: String,
    pub email: String,
    /// True if the user has proved to own the address.
    pub is_email_confirmed: bool,
    pub state: Badge,
    pub is_active: bool,
    pub is_operator: bool,
    pub is_you: bool,
    pub since: When,
    /// URL to which the form to activate the user is posted.
    pub activate: String,
    pub deactivate: Confirmation,
    pub promote: Confirmation,
    pub demote: Confirmation,
    pub reset: Confirmation,
    /// Confirmation to remove the second factor, if the user has one.
    pub remove_factor: Option<Confirmation>,
}

/// Page that shows a reset link, only once.
#[derive(Template)]
#[template(path = "operator/reset_link.html")]
pub struct Link {
    pub shell: Shell,
    pub email: String,
    pub link: String,
}

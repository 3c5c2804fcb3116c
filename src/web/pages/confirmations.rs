//! Confirmation on a page of its own, for browsers without scripts. Its texts are those of the dialog.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::Confirmation;

/// Page with a confirmation.
#[derive(Template)]
#[template(path = "confirmations/new.html")]
pub struct New {
    pub shell: Shell,
    pub ask: Confirmation,
}

impl New {
    pub fn of(shell: Shell, ask: Confirmation) -> Self {
        Self { shell, ask: Confirmation { is_page: true, ..ask } }
    }
}

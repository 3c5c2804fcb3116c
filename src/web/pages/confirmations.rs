//! A question on a page of its own, for browsers without scripts: the same words as the dialog's.

use askama::Template;

use crate::web::shell::Shell;
use crate::web::view::Ask;

#[derive(Template)]
#[template(path = "confirmations/new.html")]
pub struct New {
    pub shell: Shell,
    pub ask: Ask,
}

impl New {
    pub fn of(shell: Shell, ask: Ask) -> Self {
        Self { shell, ask: Ask { is_page: true, ..ask } }
    }
}

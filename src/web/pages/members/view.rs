//! What the pages about members and invitations show.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chip, Choice, Pager, When};

#[derive(Template)]
#[template(path = "members/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub invited: Vec<Invited>,
    pub search: String,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub name: String,
    pub email: String,
    pub role: Badge,
    pub is_you: bool,
    pub is_active: bool,
    pub since: When,
    pub may_change: bool,
    pub is_last_owner: bool,
    pub change: Ask,
    pub remove: Ask,
}

/// Somebody who was asked to join.
pub struct Invited {
    pub email: String,
    pub role: Badge,
    pub made: When,
    pub expires: When,
    /// State of the letter with its link; `None` if the link was shown instead.
    pub mail: Option<Badge>,
    pub mail_error: String,
    pub revoke: Ask,
}

/// The form as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvitationForm {
    pub nonce: String,
    pub email: String,
    pub role: String,
    pub days: String,
}

#[derive(Template)]
#[template(path = "invitations/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: InvitationForm,
    pub roles: Vec<Choice>,
    pub days: Vec<Choice>,
    pub errors: FieldErrors,
    /// Whether the link goes by mail, and is not shown.
    pub is_mailed: bool,
}

#[derive(Template)]
#[template(path = "invitations/created.html")]
pub struct Created {
    pub shell: Shell,
    pub email: String,
    pub role: String,
    pub link: String,
    pub expires: When,
}

/// Whom the page of an invitation finds before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// Signed in as the one who was invited.
    Expected,
    /// Signed in as somebody else, by e-mail address.
    Other(String),
    /// Not signed in, and has an account.
    Known,
    /// Has no account yet.
    New,
}

/// The form of somebody who makes an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinForm {
    pub token: String,
    pub name: String,
    pub password: String,
}

#[derive(Template)]
#[template(path = "invitations/show.html")]
pub struct Join {
    pub csrf: String,
    pub tenant: String,
    pub email: String,
    /// `an admin`
    pub role: String,
    pub guest: Guest,
    pub form: JoinForm,
    /// To sign in, and back here.
    pub sign_in: String,
    pub errors: FieldErrors,
}

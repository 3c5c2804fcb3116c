//! View types of the pages about members and invitations.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chip, Choice, Confirmation, Pager, When};

/// Page with the members and open invitations.
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

/// Member in the list.
pub struct Row {
    pub name: String,
    pub email: String,
    pub role: Badge,
    pub is_you: bool,
    pub is_active: bool,
    pub since: When,
    pub may_change: bool,
    pub is_last_owner: bool,
    pub change: Confirmation,
    pub remove: Confirmation,
}

/// Open invitation.
pub struct Invited {
    pub email: String,
    pub role: Badge,
    pub made: When,
    pub expires: When,
    /// State of the mail with the link. `None` if the link was shown instead.
    pub mail: Option<Badge>,
    pub mail_error: String,
    pub revoke: Confirmation,
}

/// Form of an invitation as the browser sends it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvitationForm {
    pub nonce: String,
    pub email: String,
    pub role: String,
    pub days: String,
}

/// Page with the form of an invitation.
#[derive(Template)]
#[template(path = "invitations/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: InvitationForm,
    pub roles: Vec<Choice>,
    pub days: Vec<Choice>,
    pub errors: FieldErrors,
    /// True if the link is mailed instead of shown.
    pub is_mailed: bool,
}

/// Page that shows an invitation link, only once.
#[derive(Template)]
#[template(path = "invitations/created.html")]
pub struct Created {
    pub shell: Shell,
    pub email: String,
    pub role: String,
    pub link: String,
    pub expires: When,
}

/// Relation of the reader of an invitation page to the invitation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guest {
    /// Signed in as the invited person.
    Expected,
    /// Signed in as another user, here the e-mail address.
    Other(String),
    /// Not signed in, but the invited address has an account.
    Known,
    /// The invited address has no account yet.
    New,
}

/// Form of an invited person who creates an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JoinForm {
    pub token: String,
    pub name: String,
    pub password: String,
}

/// Page that an invitation link leads to.
#[derive(Template)]
#[template(path = "invitations/show.html")]
pub struct Join {
    pub csrf: String,
    pub tenant: String,
    pub email: String,
    /// Role with its article, such as `an admin`.
    pub role: String,
    pub guest: Guest,
    pub form: JoinForm,
    /// URL of the sign-in page, which leads back to the invitation.
    pub sign_in: String,
    pub errors: FieldErrors,
}

//! View types of the pages about access tokens.

use askama::Template;
use serde::Deserialize;

use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Choice, Confirmation, Pager, Snippet, When};

/// Page with the list of tokens.
#[derive(Template)]
#[template(path = "access_tokens/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub pager: Pager,
}

/// Token in the list.
pub struct Row {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub state: Badge,
    /// `This tenant` or `Whole instance`.
    pub reach: &'static str,
    pub scopes: Vec<String>,
    pub last_used: Option<When>,
    pub expires: Option<When>,
    pub is_live: bool,
    pub revoke: Confirmation,
}

/// Form fields as the browser sends them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenForm {
    pub nonce: String,
    pub name: String,
    /// `tenant`, or `instance` for operators.
    pub reach: String,
    pub scopes: Vec<String>,
    pub expiry: String,
}

/// Page with the form of a new token.
#[derive(Template)]
#[template(path = "access_tokens/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: TokenForm,
    pub scopes: Vec<Choice>,
    pub reaches: Vec<Choice>,
    pub expiries: Vec<Choice>,
    pub errors: FieldErrors,
}

/// Page that shows a new token, only once.
#[derive(Template)]
#[template(path = "access_tokens/created.html")]
pub struct Created {
    pub shell: Shell,
    pub name: String,
    pub secret: String,
    pub dotenv: String,
    pub snippets: Vec<Snippet>,
}

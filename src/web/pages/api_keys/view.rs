//! What the pages about keys show.

use askama::Template;

use super::form::KeyForm;
use crate::domain::FieldErrors;
use crate::web::shell::Shell;
use crate::web::view::{Ask, Badge, Chart, Chip, Choice, Pager, Snippet, Spark, When};

#[derive(Template)]
#[template(path = "api_keys/index.html")]
pub struct Index {
    pub shell: Shell,
    pub rows: Vec<Row>,
    pub search: String,
    pub states: Vec<Choice>,
    pub environments: Vec<Choice>,
    pub chips: Vec<Chip>,
    pub pager: Pager,
}

pub struct Row {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub environment: Badge,
    pub is_test: bool,
    pub state: Badge,
    pub owner: String,
    pub tags: Vec<String>,
    pub scopes: String,
    pub spark: Spark,
    pub last_used: Option<When>,
    pub expires: Option<When>,
}

#[derive(Template)]
#[template(path = "api_keys/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: KeyForm,
    pub fields: Fields,
    pub errors: FieldErrors,
    /// Opens the section of limits and restrictions: something in it was filled in, or refused.
    pub is_detailed: bool,
}

#[derive(Template)]
#[template(path = "api_keys/edit.html")]
pub struct Edit {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub form: KeyForm,
    pub fields: Fields,
    pub errors: FieldErrors,
}

/// The choices of the form.
pub struct Fields {
    pub environments: Vec<Choice>,
    pub expiries: Vec<Choice>,
    pub windows: Vec<Choice>,
    pub own_scopes: Vec<Choice>,
}

/// The only page that shows a secret.
#[derive(Template)]
#[template(path = "api_keys/created.html")]
pub struct Created {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub public_id: String,
    pub secret: String,
    /// The two lines of a `.env` file.
    pub dotenv: String,
    pub snippets: Vec<Snippet>,
}

#[derive(Template)]
#[template(path = "api_keys/show.html")]
pub struct Show {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub description: String,
    pub public_id: String,
    pub hint: String,
    pub environment: Badge,
    pub state: Badge,
    /// Said where the state needs a word more: why it was revoked.
    pub notice: Option<String>,
    pub is_active: bool,
    pub may_edit: bool,
    pub may_disable: bool,
    pub may_revoke: bool,
    pub owner: String,
    pub tags: Vec<String>,
    pub scopes: Vec<String>,
    pub limit: String,
    pub addresses: Vec<String>,
    pub metadata: String,
    pub created: When,
    pub last_used: Option<When>,
    pub last_used_ip: String,
    pub expires: Option<When>,
    pub ranges: Vec<Range>,
    pub chart: Chart,
    pub endpoints: Vec<Share>,
    pub snippets: Vec<Snippet>,
    /// Configurations of what stands before an API and asks about its keys.
    pub gateways: Vec<Snippet>,
    pub disable: Ask,
    pub revoke: Ask,
    pub delete: Ask,
}

/// One of the spans of time that a chart can show.
pub struct Range {
    pub label: &'static str,
    pub href: String,
    pub is_current: bool,
}

/// A name with its number, and its part of the largest, for a bar.
pub struct Share {
    pub name: String,
    pub href: String,
    pub total: String,
    /// Out of 100.
    pub part: i64,
}

//! What the pages about keys show.

use askama::Template;

use super::bulk::BulkForm;
use super::form::KeyForm;
use crate::domain::FieldErrors;
use crate::web::pages::usage::view as usage;
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
    pub owner: String,
    pub scope: String,
    pub tag: String,
    pub unused: Vec<Choice>,
    pub expiring: Vec<Choice>,
    pub sorts: Vec<Choice>,
    /// Opens the folded part of the filter bar: something in it is set.
    pub has_more: bool,
    pub chips: Vec<Chip>,
    pub pager: Pager,
    /// The same list as CSV, and its own address.
    pub csv: String,
    pub here: String,
    pub is_of_deleted: bool,
    /// Whether rows can be ticked, for an act on many.
    pub may_choose: bool,
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
    pub deleted: Option<Deleted>,
}

/// What a deleted key's row says.
pub struct Deleted {
    pub at: When,
    pub gone: When,
    pub may_restore: bool,
}

/// A key in a short list.
pub struct Named {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub state: Badge,
    pub is_deleted: bool,
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
    /// Whether somebody else saved it while this form was open.
    pub is_stale: bool,
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
    pub refills: Vec<Choice>,
    pub own_scopes: Vec<Choice>,
    /// Of the tenant's other keys.
    pub known_scopes: Vec<String>,
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
    /// The key that this one takes over from.
    pub replaces: Option<Replaced>,
}

/// A replaced key, on the page of its successor's secret.
pub struct Replaced {
    pub id: i64,
    pub hint: String,
    /// `None` where it stops now.
    pub until: Option<When>,
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
    pub may_enable: bool,
    pub may_revoke: bool,
    pub may_rotate: bool,
    pub successor: Option<Successor>,
    pub predecessor: Option<Predecessor>,
    pub owner: String,
    pub tags: Vec<String>,
    pub scopes: Vec<String>,
    /// The first one among them.
    pub limits: Vec<LimitFact>,
    /// The newest.
    pub calls: Vec<usage::Row>,
    /// Empty where it has none.
    pub quota: String,
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
    pub rotate: Ask,
    pub disable: Ask,
    pub revoke: Ask,
    pub delete: Ask,
}

/// What took over from this key, and whether this one can go.
pub struct Successor {
    /// `None` where it was deleted.
    pub link: Option<Named>,
    pub since: Option<When>,
    pub until: When,
    pub is_over: bool,
    /// Its last use after its successor was made.
    pub still_used: Option<When>,
}

/// What this key took over from.
pub struct Predecessor {
    pub link: Named,
    /// Until when it is let in; `None` where it is not any more.
    pub until: Option<When>,
    pub still_used: Option<When>,
}

/// What can be done to many keys at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAct {
    Revoke,
    Tag,
    Delete,
}

impl BulkAct {
    pub fn verb(self) -> &'static str {
        match self {
            Self::Revoke => "Revoke",
            Self::Tag => "Tag",
            Self::Delete => "Delete",
        }
    }

    /// As in "12 keys revoked".
    pub fn done(self) -> &'static str {
        match self {
            Self::Revoke => "revoked",
            Self::Tag => "tagged anew",
            Self::Delete => "deleted",
        }
    }

    pub fn action(self) -> &'static str {
        match self {
            Self::Revoke => "/keys/bulk-revocation",
            Self::Tag => "/keys/bulk-tagging",
            Self::Delete => "/keys/bulk-deletion",
        }
    }

    pub fn consequence(self) -> &'static str {
        match self {
            Self::Revoke => {
                "Every request with one of them is refused from now on, within a second, for good. Their history and usage stay."
            }
            Self::Tag => "Tags help to find keys again. Nothing changes for the programs that use them.",
            Self::Delete => {
                "Every request with one of them is refused from now on, and they leave the list. For 30 days each can be restored."
            }
        }
    }

    pub fn is_danger(self) -> bool {
        self != Self::Tag
    }
}

/// The question before an act on many keys.
#[derive(Template)]
#[template(path = "api_keys/bulk.html")]
pub struct BulkPage {
    pub shell: Shell,
    pub title: String,
    /// `12 keys`
    pub count: String,
    pub act: BulkAct,
    pub back: String,
    pub rows: Vec<Named>,
    pub form: BulkForm,
    pub errors: FieldErrors,
}

#[derive(Template)]
#[template(path = "api_keys/lookup.html")]
pub struct Lookup {
    pub shell: Shell,
    /// What was found, where that is no refusal.
    pub said: String,
    pub rows: Vec<Named>,
    pub errors: FieldErrors,
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

/// A limit and where the key stands with it.
pub struct LimitFact {
    pub name: String,
    pub rule: String,
    pub left: String,
    /// Percent of it that is used.
    pub percent: u64,
}

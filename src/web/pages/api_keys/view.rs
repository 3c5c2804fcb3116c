//! View types of the pages about keys.

use askama::Template;

use super::bulk::BulkForm;
use super::form::KeyForm;
use crate::domain::FieldErrors;
use crate::web::pages::usage::view as usage;
use crate::web::shell::Shell;
use crate::web::view::{Badge, Chart, Chip, Choice, Confirmation, Pager, Snippet, Spark, When};

/// Page with the list of keys.
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
    /// True if a filter in the folded part of the bar is set, which opens that part.
    pub has_more: bool,
    pub chips: Vec<Chip>,
    pub pager: Pager,
    /// URL of the list as CSV.
    pub csv: String,
    /// URL of this list with its filters.
    pub here: String,
    pub is_of_deleted: bool,
    /// True if rows can be ticked for a change to many keys.
    pub may_choose: bool,
}

/// Key in the list.
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

/// Additional cells of a deleted key.
pub struct Deleted {
    pub at: When,
    pub gone: When,
    pub may_restore: bool,
}

/// Key as an entry of a short list.
pub struct Named {
    pub id: i64,
    pub name: String,
    pub hint: String,
    pub state: Badge,
    pub is_deleted: bool,
}

/// Page with the form of a new key.
#[derive(Template)]
#[template(path = "api_keys/new.html")]
pub struct New {
    pub shell: Shell,
    pub form: KeyForm,
    pub fields: Fields,
    pub errors: FieldErrors,
    /// True if a field in the section of limits and restrictions is filled or has an error, which opens the section.
    pub is_detailed: bool,
}

/// Page with the form of an existing key.
#[derive(Template)]
#[template(path = "api_keys/edit.html")]
pub struct Edit {
    /// True if another user saved the key while this form was open.
    pub is_stale: bool,
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub form: KeyForm,
    pub fields: Fields,
    pub errors: FieldErrors,
}

/// Options of the form.
pub struct Fields {
    pub environments: Vec<Choice>,
    pub expiries: Vec<Choice>,
    pub windows: Vec<Choice>,
    pub refills: Vec<Choice>,
    pub own_scopes: Vec<Choice>,
    /// Scopes of the tenant's other keys.
    pub known_scopes: Vec<String>,
}

/// Page that shows a new secret, the only one that does.
#[derive(Template)]
#[template(path = "api_keys/created.html")]
pub struct Created {
    pub shell: Shell,
    pub id: i64,
    pub name: String,
    pub public_id: String,
    pub secret: String,
    /// Lines of a `.env` file.
    pub dotenv: String,
    pub snippets: Vec<Snippet>,
    /// Key that this key replaces.
    pub replaces: Option<Replaced>,
}

/// Replaced key, on the page of its successor's secret.
pub struct Replaced {
    pub id: i64,
    pub hint: String,
    /// When the replaced key stops working. `None`: now.
    pub until: Option<When>,
}

/// Page of one key.
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
    /// Explanation of the state, such as why the key was revoked.
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
    /// Rate limits, the first one included.
    pub limits: Vec<LimitFact>,
    /// Newest calls.
    pub calls: Vec<usage::Row>,
    /// State of the quota as text. Empty: no quota.
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
    /// Configurations of gateways that check keys.
    pub gateways: Vec<Snippet>,
    pub rotate: Confirmation,
    pub disable: Confirmation,
    pub revoke: Confirmation,
    pub delete: Confirmation,
}

/// Key that replaced this one, and whether this one is still in use.
pub struct Successor {
    /// Link to the successor. `None` if it was deleted.
    pub link: Option<Named>,
    pub since: Option<When>,
    pub until: When,
    pub is_over: bool,
    /// Last use of this key after its successor was created.
    pub still_used: Option<When>,
}

/// Key that this one replaced.
pub struct Predecessor {
    pub link: Named,
    /// When the replaced key stops working. `None` if it already has.
    pub until: Option<When>,
    pub still_used: Option<When>,
}

/// Change to many keys at once.
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

    /// Returns the participle, as in "12 keys revoked".
    pub fn done(self) -> &'static str {
        match self {
            Self::Revoke => "revoked",
            Self::Tag => "tagged",
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
                "Within a second, Gatepost begins to refuse every request with these keys, permanently. Their history and usage stay."
            }
            Self::Tag => "Tags help you find keys. Nothing changes for the programs that use the keys.",
            Self::Delete => {
                "Within a second, Gatepost begins to refuse every request with these keys, and they leave the list. You have 30 days to restore each."
            }
        }
    }

    pub fn is_danger(self) -> bool {
        self != Self::Tag
    }
}

/// Confirmation of a change to many keys.
#[derive(Template)]
#[template(path = "api_keys/bulk.html")]
pub struct BulkPage {
    pub shell: Shell,
    pub title: String,
    /// Number of keys as text, such as `12 keys`.
    pub count: String,
    pub act: BulkAct,
    pub back: String,
    pub rows: Vec<Named>,
    pub form: BulkForm,
    pub errors: FieldErrors,
}

/// Page to look a key up, with the result.
#[derive(Template)]
#[template(path = "api_keys/lookup.html")]
pub struct Lookup {
    pub shell: Shell,
    /// Message about the result, if it is no error.
    pub said: String,
    pub rows: Vec<Named>,
    pub errors: FieldErrors,
}

/// Time span that a chart can show.
pub struct Range {
    pub label: &'static str,
    pub href: String,
    pub is_current: bool,
}

/// Name with its total, and its share of the largest total for a bar.
pub struct Share {
    pub name: String,
    pub href: String,
    pub total: String,
    /// Percentage of the largest total.
    pub part: i64,
}

/// Rate limit, with the calls left.
pub struct LimitFact {
    pub name: String,
    pub rule: String,
    pub left: String,
    /// Used percentage of the limit.
    pub percent: u64,
}

//! Rows of keys as their pages show them.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::snippets;
use super::view::{Row, Share, Show};
use crate::domain::actor::Authority;
use crate::domain::api_key::KeyState;
use crate::domain::{Permission, Role};
use crate::model::ApiKey;
use crate::services::figures::Hours;
use crate::services::usage::UsageReport;
use crate::web::pages::spans::Stretch;
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::{Ask, Badge, Snippet, Spark, When, text};

pub fn row(key: ApiKey, hours: &Hours, now: DateTime<Utc>) -> Row {
    let none = vec![0; 24];
    Row {
        state: Badge::state(key.state(now).as_str()),
        environment: Badge::environment(key.environment.as_str()),
        is_test: key.environment == crate::domain::api_key::Environment::Test,
        scopes: text::counted(i64::try_from(key.scopes.len()).unwrap_or(i64::MAX), "scope"),
        spark: Spark::new(hours.get(&key.id.0).unwrap_or(&none), "verification", "24 hours"),
        last_used: When::maybe(key.last_used_at, now),
        expires: When::maybe(key.expires_at, now),
        id: key.id.0,
        name: key.name,
        hint: key.hint,
        owner: key.owner.unwrap_or_default(),
        tags: key.tags,
    }
}

/// What the page of a key needs besides the key.
pub struct Context<'a> {
    pub shell: Shell,
    pub report: &'a UsageReport,
    pub stretch: Stretch,
    pub base: &'a str,
    pub gateways: Vec<Snippet>,
    pub now: DateTime<Utc>,
}

pub fn show(key: ApiKey, context: Context<'_>) -> Show {
    let Context { shell, report, stretch, base, gateways, now } = context;
    let state = key.state(now);
    let may_edit = may_edit(&shell, &key);
    let asks = Asks::new(&key, &shell.csrf);
    Show {
        environment: Badge::environment(key.environment.as_str()),
        state: Badge::state(state.as_str()),
        notice: notice(&key, state),
        is_active: key.is_active,
        may_edit,
        may_disable: may_edit && key.is_active && state != KeyState::Revoked,
        may_revoke: may_edit && state != KeyState::Revoked,
        limit: format!(
            "{} in any {}",
            text::grouped(key.rate_limit),
            text::seconds(key.rate_window_seconds).trim_start_matches("1 ")
        ),
        metadata: if key.metadata == Value::Object(Map::new()) {
            String::new()
        } else {
            text::pretty(&key.metadata.to_string())
        },
        created: When::new(key.created_at, now),
        last_used: When::maybe(key.last_used_at, now),
        expires: When::maybe(key.expires_at, now),
        ranges: stretch.choices(&urls::key(key.id)),
        chart: stretch.usage_chart("usage", &report.buckets),
        endpoints: shares(report.by_endpoint.iter().take(8).map(|(name, total)| (name.clone(), String::new(), *total))),
        snippets: snippets::calls(base, snippets::PLACEHOLDER),
        gateways,
        disable: asks.disable,
        revoke: asks.revoke,
        delete: asks.delete,
        id: key.id.0,
        name: key.name,
        description: key.description.unwrap_or_default(),
        public_id: key.public_id,
        hint: key.hint,
        owner: key.owner.unwrap_or_default(),
        tags: key.tags,
        scopes: key.scopes,
        addresses: key.allowed_ips,
        last_used_ip: key.last_used_ip.unwrap_or_default(),
        shell,
    }
}

/// Bars against the largest of them.
pub fn shares(totals: impl Iterator<Item = (String, String, i64)>) -> Vec<Share> {
    let totals: Vec<_> = totals.collect();
    let most = totals.iter().map(|(_, _, total)| *total).max().unwrap_or(1).max(1);
    let share = |(name, href, total): (String, String, i64)| Share {
        name,
        href,
        total: text::grouped(total),
        part: total * 100 / most,
    };
    totals.into_iter().map(share).collect()
}

/// A developer may change what is theirs, admins and owners everything.
pub fn may_edit(shell: &Shell, key: &ApiKey) -> bool {
    let is_own = match &shell.rights.authority {
        Authority::Person { role, .. } => {
            Role::Admin <= *role || (key.user_id.is_some() && key.user_id == shell.rights.user)
        }
        Authority::Key { .. } => false,
    };
    is_own && shell.rights.may(Permission::WriteKeys)
}

fn notice(key: &ApiKey, state: KeyState) -> Option<String> {
    match state {
        KeyState::Revoked => Some(match &key.revoked_reason {
            Some(reason) => format!("Revoked for good: {reason}"),
            None => "Revoked for good: every request with it is refused.".to_owned(),
        }),
        KeyState::Expired => {
            Some("Expired: every request with it is refused. Give it another day to let it in again.".to_owned())
        }
        KeyState::Disabled => Some("Disabled: every request with it is refused until you enable it.".to_owned()),
        _ => None,
    }
}

/// The three questions, with the same words in the dialog and on their own page.
pub struct Asks {
    pub disable: Ask,
    pub revoke: Ask,
    pub delete: Ask,
}

impl Asks {
    pub fn new(key: &ApiKey, csrf: &str) -> Self {
        let (name, back) = (&key.name, urls::key(key.id));
        let act = |act: &str| urls::key_act(key.id, act);
        let disabled = "Every request with it is refused from now on, within a second. You can enable it again.";
        let revoked =
            "Every request with it is refused from now on, within a second, for good. Its history and usage stay.";
        let deleted = "Every request with it is refused from now on, for good, and it leaves the list. Its usage stays in the charts.";
        Self {
            disable: Ask::new("disable-key", format!("Disable {name}?"), disabled)
                .posts("Disable key", act("deactivation"), csrf, back.clone())
                .gentle(),
            revoke: Ask::new("revoke-key", format!("Revoke {name}?"), revoked).posts(
                "Revoke key",
                act("revocation"),
                csrf,
                back.clone(),
            ),
            delete: Ask::new("delete-key", format!("Delete {name}?"), deleted)
                .posts("Delete key", act("deletion"), csrf, back)
                .typed(name.clone()),
        }
    }
}

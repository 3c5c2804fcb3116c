//! Conversion of keys into rows and page views.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::view::{Deleted, LimitFact, Named, Predecessor, Row, Share, Show, Successor};
use super::{rotation, snippets};
use crate::domain::Permission;
use crate::domain::api_key::{Environment, KeyState, RESTORABLE_FOR};
use crate::domain::limit::named::Per;
use crate::domain::quota::QuotaState;
use crate::gate::NamedStanding;
use crate::model::{ApiKey, UsageLog};
use crate::services::api_keys::LineageNeighbors;
use crate::services::figures::Hours;
use crate::services::usage::UsageReport;
use crate::web::pages::spans::ChartSpan;
use crate::web::pages::usage::records;
use crate::web::shell::Shell;
use crate::web::urls;
use crate::web::view::{Badge, Confirmation, Snippet, Spark, When, text};

/// Returns a key as a row of the list.
pub fn row(shell: &Shell, key: ApiKey, hours: &Hours, now: DateTime<Utc>) -> Row {
    let none = vec![0; 24];
    let deleted = key.deleted_at.map(|at| Deleted {
        at: When::new(at, now),
        gone: When::new(at + RESTORABLE_FOR, now),
        may_restore: may_edit(shell, &key),
    });
    Row {
        deleted,
        state: Badge::state(key.state(now).as_str()),
        environment: Badge::environment(key.environment.as_str()),
        is_test: key.environment == Environment::Test,
        scopes: text::counted(i64::try_from(key.scopes.len()).unwrap_or(i64::MAX), "scope"),
        spark: Spark::new(hours.get(&key.id.0).unwrap_or(&none), "verification", "24 hours"),
        last_used: When::maybe(key.last_used_at, now),
        expires: When::maybe(key.ends_at(), now),
        id: key.id.0,
        name: key.name,
        hint: key.hint,
        owner: key.owner.unwrap_or_default(),
        tags: key.tags,
    }
}

/// Returns a key as an entry of a short list.
pub fn named(key: ApiKey, now: DateTime<Utc>) -> Named {
    Named {
        state: Badge::state(key.state(now).as_str()),
        is_deleted: key.deleted_at.is_some(),
        id: key.id.0,
        name: key.name,
        hint: key.hint,
    }
}

/// Data for the page of a key, besides the key.
pub struct Context<'a> {
    pub shell: Shell,
    pub report: &'a UsageReport,
    pub kin: LineageNeighbors,
    pub limits: Vec<NamedStanding>,
    /// Newest calls.
    pub calls: Vec<UsageLog>,
    pub quota: Option<QuotaState>,
    pub stretch: ChartSpan,
    pub base: &'a str,
    pub gateways: Vec<Snippet>,
    /// Random value for the form that rotates.
    pub nonce: String,
    pub now: DateTime<Utc>,
}

/// Returns the page of a key.
pub fn show(key: ApiKey, context: Context<'_>) -> Show {
    let Context { shell, report, kin, limits, calls, quota, stretch, base, gateways, nonce, now } = context;
    let state = key.state(now);
    let may_edit = may_edit(&shell, &key);
    let asks = Asks::new(&key, &shell.csrf);
    Show {
        environment: Badge::environment(key.environment.as_str()),
        state: Badge::state(state.as_str()),
        notice: notice(&key, state, now),
        is_active: key.is_active,
        may_edit,
        may_disable: may_edit && key.is_active && state != KeyState::Revoked && !key.is_rotated_out(now),
        may_enable: may_edit && state == KeyState::Disabled,
        may_revoke: may_edit && state != KeyState::Revoked,
        may_rotate: may_edit && may_rotate(&key, now),
        successor: successor(&key, kin.after, now),
        predecessor: kin.before.map(|before| predecessor(before, key.created_at, now)),
        rotate: rotation::ask(&key, &shell.csrf, nonce),
        limits: limits.iter().map(fact).collect(),
        calls: calls.into_iter().map(|call| records::row(call, now)).collect(),
        quota: quota.map(|standing| quota_fact(&standing, now)).unwrap_or_default(),
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
        endpoints: shares(
            report.by_endpoint.rows.iter().take(8).map(|row| (row.group.clone(), String::new(), row.total)),
        ),
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

fn fact(named: &NamedStanding) -> LimitFact {
    let limit = named.standing.limit;
    let (quota, seconds) = (i64::try_from(limit.quota), i64::try_from(limit.window_seconds));
    let (quota, seconds) = (quota.unwrap_or(i64::MAX), seconds.unwrap_or(i64::MAX));
    let shared = if named.per == Per::Owner { ", shared with the owner's other keys" } else { "" };
    let window = text::seconds(seconds);
    LimitFact {
        name: named.name.to_string(),
        rule: format!("{} in any {}{shared}", text::grouped(quota), window.trim_start_matches("1 ")),
        left: text::grouped(i64::try_from(named.standing.remaining).unwrap_or(i64::MAX)),
        percent: named.percent(),
    }
}

fn quota_fact(standing: &QuotaState, now: DateTime<Utc>) -> String {
    let left = format!("{} left of {}", text::grouped(standing.remaining), text::grouped(standing.quota));
    match standing.refills_at {
        Some(at) => format!("{left}, refilled {}", When::new(at, now).text),
        None => left,
    }
}

/// Returns each total with its percentage of the largest, for bars.
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

/// True if the user may change the key: developers their own keys, admins and owners all keys.
pub fn may_edit(shell: &Shell, key: &ApiKey) -> bool {
    shell.rights.may_own(Permission::WriteKeys, key.user_id)
}

/// True if the service would accept a rotation of the key.
pub fn may_rotate(key: &ApiKey, now: DateTime<Utc>) -> bool {
    key.rotation.rotates_out_at.is_none() && matches!(key.state(now), KeyState::Active | KeyState::Disabled)
}

/// Returns the key that replaced this one, if any.
fn successor(key: &ApiKey, after: Option<ApiKey>, now: DateTime<Utc>) -> Option<Successor> {
    let (since, until) = (key.rotation.replaced_at, key.rotation.rotates_out_at?);
    Some(Successor {
        link: after.map(|after| named(after, now)),
        since: When::maybe(since, now),
        until: When::new(until, now),
        is_over: until <= now || key.revoked_at.is_some(),
        still_used: When::maybe(key.last_used_at.filter(|at| since.is_some_and(|since| since < *at)), now),
    })
}

fn predecessor(before: ApiKey, since: DateTime<Utc>, now: DateTime<Utc>) -> Predecessor {
    let is_over = before.state(now) != KeyState::Rotating;
    Predecessor {
        until: When::maybe(before.rotation.rotates_out_at.filter(|_| !is_over), now),
        still_used: When::maybe(before.last_used_at.filter(|at| since < *at), now),
        link: named(before, now),
    }
}

fn notice(key: &ApiKey, state: KeyState, now: DateTime<Utc>) -> Option<String> {
    match state {
        KeyState::Revoked => Some(match &key.revoked_reason {
            Some(reason) => format!("Revoked permanently: {reason}"),
            None => "Revoked permanently: every request with this key is refused.".to_owned(),
        }),
        KeyState::Expired if key.is_rotated_out(now) => {
            Some("Replaced by another key: every request with this key is refused.".to_owned())
        }
        KeyState::Expired => Some(
            "Expired: every request with this key is refused. Edit the key and set a later expiry to accept it again."
                .to_owned(),
        ),
        KeyState::Disabled => Some("Disabled: every request with this key is refused until you enable it.".to_owned()),
        _ => None,
    }
}

/// Confirmations of a key, with equal texts in the dialogs and on their own pages.
pub struct Asks {
    pub disable: Confirmation,
    pub revoke: Confirmation,
    pub delete: Confirmation,
}

impl Asks {
    pub fn new(key: &ApiKey, csrf: &str) -> Self {
        let (name, back) = (&key.name, urls::key(key.id));
        let act = |act: &str| urls::key_act(key.id, act);
        let disabled =
            "Within a second, Gatepost begins to refuse every request with this key. You can enable the key again.";
        let revoked = "Within a second, Gatepost begins to refuse every request with this key, permanently. Its history and usage stay.";
        let deleted = "Within a second, Gatepost begins to refuse every request with this key, and it leaves the list. You have 30 days to restore it; then it is erased. Its usage stays in the charts.";
        Self {
            disable: Confirmation::new("disable-key", format!("Disable {name}?"), disabled)
                .posts("Disable key", act("deactivation"), csrf, back.clone())
                .gentle(),
            revoke: Confirmation::new("revoke-key", format!("Revoke {name}?"), revoked)
                .posts("Revoke key", act("revocation"), csrf, back.clone())
                .noting(
                    "reason",
                    "Reason",
                    "Shown on the key's page and in the API, such as \"leaked\" or \"customer left\".",
                ),
            delete: Confirmation::new("delete-key", format!("Delete {name}?"), deleted)
                .posts("Delete key", act("deletion"), csrf, back)
                .typed(name.clone()),
        }
    }
}

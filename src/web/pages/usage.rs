//! Page about usage: a chart of a time span, with its breakdown.

pub mod records;
pub mod view;

use actix_web::web::Data;
use serde::Deserialize;

use super::page;
use super::spans::{self, ChartSpan};
use crate::domain::page::{Capped, PageSize, Paging};
use crate::domain::usage::{GroupBy, Outcome};
use crate::domain::{FieldErrors, Permission, Result};
use crate::gate;
use crate::model::UsageLog;
use crate::services::usage::{self, LATENCY_SAMPLE, Latency, LogFilter, UsageBucket};
use crate::store::usage::{GroupRow, UsageScope};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::csv;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{filter, text};
use view::{Choice, Group, Index, Near};

/// Maximum number of groups on the page.
const MOST_GROUPS: i64 = 50;
/// Maximum number of groups in the CSV file.
const MOST_IN_CSV: i64 = 100_000;
/// Number of refused calls shown.
const LATEST: i64 = 5;
/// Number of keys shown that are near their limits.
const MOST_NEAR: usize = 8;

/// URL parameters of the page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UsageQuery {
    group: String,
    #[serde(flatten)]
    when: spans::TimeQuery,
}

impl UsageQuery {
    fn group(&self) -> GroupBy {
        self.group.parse().unwrap_or(GroupBy::Endpoint)
    }

    /// Returns an error for each invalid parameter.
    fn ignored(&self) -> FieldErrors {
        let mut ignored = self.when.ignored();
        filter::read(&mut ignored, "group", &self.group, str::parse::<GroupBy>);
        ignored
    }
}

/// Data of the page.
struct UsageData {
    buckets: Vec<UsageBucket>,
    groups: Capped<GroupRow>,
    latency: Option<Latency>,
    refused: Vec<UsageLog>,
}

fn found(tx: &mut Tx<'_>, scope: Scope, stretch: ChartSpan, by: GroupBy) -> Result<UsageData> {
    let (of, span) = (UsageScope { scope, key: None }, stretch.span());
    let filter =
        LogFilter { is_refused: true, since: Some(span.since), until: Some(span.until), ..LogFilter::default() };
    let few = Paging { size: PageSize::new(LATEST).unwrap_or_default(), ..Paging::default() };
    Ok(UsageData {
        buckets: usage::buckets(tx, scope, &span)?,
        groups: usage::groups(tx, of, &span, by, MOST_GROUPS)?,
        latency: usage::latency(tx, of, &span)?,
        refused: usage::records(tx, scope, &filter, &few)?.rows,
    })
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<UsageQuery>) -> Answer {
    who.actor.must(Permission::ReadUsage)?;
    who.shell.note_ignored(&asked.ignored());
    let now = state.clock.now();
    let (stretch, by, scope) = (asked.when.stretch(now), asked.group(), Scope::Tenant(who.shell.tenant.id));
    let found = state.reports.read(scope, move |tx| found(tx, scope, stretch, by)).await?;
    let total: i64 = found.buckets.iter().map(|bucket| bucket.total).sum();
    let valid: i64 = found.buckets.iter().filter_map(|bucket| bucket.by_outcome.get(&Outcome::Valid)).sum();
    let (from, to) = stretch.days();
    page(&Index {
        ranges: stretch.choices_with(urls::USAGE, &[("group", by.as_str())]),
        from,
        to,
        total: text::grouped(total),
        refused: text::grouped((total - valid).max(0)),
        success_rate: text::share(valid, total),
        latency_note: latency_note(found.latency),
        latency: found.latency.map(|it| [it.p50, it.p95, it.p99].map(millis)),
        chart: stretch.usage_chart("usage", &found.buckets),
        groupings: groupings(stretch, by),
        group_noun: noun(by),
        csv: csv_link(stretch, by),
        is_cut: found.groups.is_capped,
        groups: shown(found.groups.rows, by),
        limits: state.gate.nearest_to_limits(who.shell.tenant.id, MOST_NEAR).iter().map(near).collect(),
        refusals: found.refused.into_iter().map(|record| records::row(record, now)).collect(),
        shell: who.shell,
    })
}

/// Responds with the shown breakdown as CSV.
pub async fn export(state: Data<State>, who: SignedIn, Query(asked): Query<UsageQuery>) -> Answer {
    who.actor.must(Permission::ReadUsage)?;
    asked.ignored().refuse()?;
    let (stretch, by) = (asked.when.stretch(state.clock.now()), asked.group());
    let scope = Scope::Tenant(who.shell.tenant.id);
    let find =
        move |tx: &mut Tx<'_>| usage::groups(tx, UsageScope { scope, key: None }, &stretch.span(), by, MOST_IN_CSV);
    let groups = state.reports.read(scope, find).await?;
    Ok(csv::groups(&groups.rows, by).download(&format!("usage-by-{}.csv", by.as_str().replace('_', "-"))))
}

/// Returns the note under percentiles of a part of the requests.
fn latency_note(latency: Option<Latency>) -> String {
    match latency {
        Some(latency) if latency.is_sampled => format!("newest {}", text::counted(LATENCY_SAMPLE, "call")),
        _ => String::new(),
    }
}

fn near(near: &gate::NearLimit) -> Near {
    let (key, limit) = (&near.key.value.key, near.limit.standing.limit);
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Near {
        id: key.id.0,
        name: key.name.clone(),
        limit: near.limit.name.to_string(),
        window: text::seconds(number(limit.window_seconds)).trim_start_matches("1 ").to_owned(),
        used: text::grouped(number(near.limit.used())),
        quota: text::grouped(number(limit.quota)),
        percent: near.limit.percent(),
    }
}

fn csv_link(stretch: ChartSpan, by: GroupBy) -> String {
    let when = stretch.parameters();
    let mut parameters: Vec<_> = when.iter().map(|(name, value)| (*name, value.as_str())).collect();
    parameters.push(("group", by.as_str()));
    filter::href(urls::USAGE_CSV, &parameters)
}

fn groupings(stretch: ChartSpan, chosen: GroupBy) -> Vec<Choice> {
    let when = stretch.parameters();
    let choice = |by: &GroupBy| {
        let mut parameters: Vec<_> = when.iter().map(|(name, value)| (*name, value.as_str())).collect();
        parameters.push(("group", by.as_str()));
        Choice { label: noun(*by), href: filter::href(urls::USAGE, &parameters), is_current: *by == chosen }
    };
    GroupBy::ALL.iter().map(choice).collect()
}

const fn noun(by: GroupBy) -> &'static str {
    match by {
        GroupBy::Key => "Key",
        GroupBy::Owner => "Owner",
        GroupBy::Endpoint => "Endpoint",
        GroupBy::Outcome => "Outcome",
        GroupBy::Status => "Status",
        GroupBy::StatusClass => "Status class",
    }
}

fn shown(groups: Vec<GroupRow>, by: GroupBy) -> Vec<Group> {
    let most = groups.iter().map(|row| row.total).max().unwrap_or(1).max(1);
    let group = |row: GroupRow| Group {
        href: if by == GroupBy::Key { format!("{}/{}", urls::KEYS, row.group) } else { String::new() },
        name: match by {
            GroupBy::Outcome => words(&row.label),
            GroupBy::Owner if row.label.is_empty() => "No owner".to_owned(),
            _ => row.label,
        },
        total: text::grouped(row.total),
        valid: text::grouped(row.valid),
        refused: text::grouped(row.total - row.valid),
        part: row.total * 100 / most,
    };
    groups.into_iter().map(group).collect()
}

/// Formats an outcome for people: `RATE_LIMITED` as `Rate limited`.
pub fn words(outcome: &str) -> String {
    text::capitalized(&outcome.to_lowercase().replace('_', " "))
}

fn millis(number: f64) -> String {
    match number {
        _ if number < 0.1 => format!("{:.0} µs", number * 1000.0),
        _ if number < 10.0 => format!("{number:.1} ms"),
        _ if number < 1000.0 => format!("{number:.0} ms"),
        _ => format!("{:.1} s", number / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_formatted() {
        assert_eq!([0.034, 0.91, 12.4, 2_345.0].map(millis), ["34 µs", "0.9 ms", "12 ms", "2.3 s"]);
    }
}

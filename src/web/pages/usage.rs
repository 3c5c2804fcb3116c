//! The page about usage: a range, a chart, and who and what made it.

pub mod view;

use actix_web::web::Data;

use super::api_keys::{Asked, show::shares};
use super::page;
use super::spans::Stretch;
use crate::domain::Permission;
use crate::domain::usage::Outcome;
use crate::services::{figures, usage};
use crate::store::Scope;
use crate::store::figures::OutcomeSum;
use crate::web::auth::SignedIn;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::text;
use view::Index;

pub async fn index(state: Data<State>, who: SignedIn, Query(asked): Query<Asked>) -> Answer {
    who.actor.must(Permission::ReadUsage)?;
    let (actor, now) = (who.actor, state.clock.now());
    let (stretch, scope) = (Stretch::named(&asked.range), Scope::Tenant(who.shell.tenant.id));
    let read = move |conn: &mut _| {
        let report = usage::of_tenant(conn, scope, stretch.span(now))?;
        Ok((report, figures::shares(conn, &actor, stretch.since(now))?))
    };
    let (report, found) = state.pages.read(scope, read).await?;
    let valid = found.outcomes.iter().filter(|sum| sum.outcome == Outcome::Valid).map(|sum| sum.total).sum::<i64>();
    page(&Index {
        ranges: stretch.choices(urls::USAGE),
        total: text::grouped(report.total),
        valid: text::grouped(valid),
        refused: text::grouped((report.total - valid).max(0)),
        success_rate: text::share(valid, report.total),
        chart: stretch.usage_chart("usage", &report, now),
        keys: shares(found.keys.into_iter().map(|sum| (sum.name, urls::key(sum.id), sum.total))),
        endpoints: shares(
            report.by_endpoint.iter().take(10).map(|(name, total)| (name.clone(), String::new(), *total)),
        ),
        outcomes: shares(found.outcomes.into_iter().map(|sum| (words(&sum), String::new(), sum.total))),
        shell: who.shell,
    })
}

/// `RATE_LIMITED` as `Rate limited`.
fn words(sum: &OutcomeSum) -> String {
    text::capitalized(&sum.outcome.as_str().to_lowercase().replace('_', " "))
}

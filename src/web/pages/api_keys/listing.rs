//! List of keys: its URL parameters, the page, and the CSV file.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use serde::Deserialize;

use super::view::Index;
use super::{export, show};
use crate::domain::api_key::{KeyMark, KeySort, KeyState};
use crate::domain::page::Paging;
use crate::domain::{Error, FieldErrors, Permission, Rejection, scope};
use crate::services::api_keys::{self, KeyFilter};
use crate::services::figures;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::json::Query;
use crate::web::pages::page;
use crate::web::pages::paging::PagePlace;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Chip, Choice, Pager, filter, text};

const ROWS: i64 = 25;
const STATES: [(&str, &str); 7] = [
    ("", "Any"),
    ("active", "Active"),
    ("rotating", "Rotating"),
    ("disabled", "Disabled"),
    ("expired", "Expired"),
    ("revoked", "Revoked"),
    ("deleted", "Deleted"),
];
const ENVIRONMENTS: [(&str, &str); 3] = [("", "Any"), ("live", "Live"), ("test", "Test")];
const UNUSED: [(&str, &str); 3] =
    [("", "Any time"), ("30", "Not in the last 30 days"), ("90", "Not in the last 90 days")];
const EXPIRING: [(&str, &str); 3] = [("", "Any time"), ("14", "Within 14 days"), ("30", "Within 30 days")];
const SORTS: [(&str, &str); 4] =
    [("", "Newest"), ("name", "Name"), ("last_used", "Last used"), ("expires", "Expires first")];

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    q: String,
    state: String,
    environment: String,
    owner: String,
    scope: String,
    tag: String,
    unused_days: String,
    expiring_days: String,
    sort: String,
    #[serde(flatten)]
    place: PagePlace,
}

impl Listing {
    /// Returns the filter, and an error for each invalid parameter, which then filters nothing.
    fn filter(&self, now: DateTime<Utc>) -> (KeyFilter, FieldErrors) {
        let mut ignored = self.place.noted::<KeyMark>();
        filter::read(&mut ignored, "sort", &self.sort, str::parse::<KeySort>);
        let filter = KeyFilter {
            text: filter::text(&self.q),
            state: filter::read(&mut ignored, "state", &self.state, str::parse),
            environment: filter::read(&mut ignored, "environment", &self.environment, str::parse),
            user: None,
            is_active: None,
            owner: filter::text(&self.owner),
            scopes: filter::text(&self.scope).map(|asked| scope::allowing(&asked)).unwrap_or_default(),
            tag: filter::text(&self.tag),
            unused_since: filter::read(&mut ignored, "unused_days", &self.unused_days, days).map(|length| now - length),
            expiring_until: filter::read(&mut ignored, "expiring_days", &self.expiring_days, days)
                .map(|length| now + length),
        };
        (filter, ignored)
    }

    fn sort(&self) -> KeySort {
        self.sort.parse().unwrap_or(KeySort::Newest)
    }

    /// Returns the page. A cursor of another sort order is ignored and gives the first page.
    fn paging(&self) -> Paging<KeyMark> {
        let paging = self.place.paging::<KeyMark>(ROWS);
        let fits = |mark: &KeyMark| mark.sort() == self.sort();
        Paging { before: paging.before.filter(fits), after: paging.after.filter(fits), ..paging }
    }

    fn parameters(&self) -> [(&'static str, &str); 9] {
        [
            ("q", self.q.trim()),
            ("state", &self.state),
            ("environment", &self.environment),
            ("owner", self.owner.trim()),
            ("scope", self.scope.trim()),
            ("tag", self.tag.trim()),
            ("unused_days", &self.unused_days),
            ("expiring_days", &self.expiring_days),
            ("sort", &self.sort),
        ]
    }

    /// Returns the chips. The sort order has none, since it cannot be removed.
    fn chips(&self) -> Vec<Chip> {
        let shown = |name: &str, value: &str| match name {
            "q" => ("Search".to_owned(), value.to_owned()),
            "unused_days" => ("Not used for".to_owned(), format!("{value} days")),
            "expiring_days" => ("Expires within".to_owned(), format!("{value} days")),
            _ => (text::label(name), value.to_owned()),
        };
        let mut chips = filter::chips(urls::KEYS, &self.parameters(), shown);
        chips.retain(|chip| chip.name != "Sort");
        chips
    }

    /// True if a filter in the folded part of the bar is set.
    fn has_more(&self) -> bool {
        [&self.owner, &self.scope, &self.tag, &self.unused_days, &self.expiring_days].iter().any(|set| !set.is_empty())
    }
}

fn days(text: &str) -> Result<TimeDelta, Rejection> {
    let days = text.parse().ok().filter(|days| (1..=3_650).contains(days));
    days.map(TimeDelta::days).ok_or_else(|| Rejection::new("range", "must be a number of days from 1 to 3650"))
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadKeys)?;
    let now = state.clock.now();
    let ((filter, ignored), sort, paging) = (asked.filter(now), asked.sort(), asked.paging());
    who.shell.note_ignored(&ignored);
    let (actor, scope) = (who.actor, Scope::Tenant(who.shell.tenant.id));
    let is_of_deleted = filter.state == Some(KeyState::Deleted);
    let list = move |tx: &mut Tx<'_>| {
        let page = api_keys::list(tx, scope, &filter, sort, &paging)?;
        let ids: Vec<_> = page.rows.iter().map(|key| key.id).collect();
        let hours = figures::hours_of_keys(tx, &actor, &ids)?;
        Ok((page, hours))
    };
    let (found, hours) = state.pages.read(scope, list).await?;
    let set = asked.parameters();
    let shell = who.shell;
    page(&Index {
        pager: Pager::new(urls::KEYS, &set, &found),
        chips: asked.chips(),
        rows: found.rows.into_iter().map(|key| show::row(&shell, key, &hours, now)).collect(),
        states: Choice::list(&STATES, &asked.state),
        environments: Choice::list(&ENVIRONMENTS, &asked.environment),
        unused: with_own(&UNUSED, &asked.unused_days),
        expiring: with_own(&EXPIRING, &asked.expiring_days),
        sorts: Choice::list(&SORTS, &asked.sort),
        csv: filter::href(urls::KEYS_CSV, &set),
        here: filter::href(urls::KEYS, &set),
        has_more: asked.has_more(),
        may_choose: shell.may_write_many_keys() && !is_of_deleted,
        is_of_deleted,
        search: asked.q,
        owner: asked.owner,
        scope: asked.scope,
        tag: asked.tag,
        shell,
    })
}

/// Returns the usual options, plus the URL's own number of days if it is not among them.
fn with_own(usual: &[(&str, &str)], chosen: &str) -> Vec<Choice> {
    let mut choices = Choice::list(usual, chosen);
    if !choices.iter().any(|choice| choice.is_chosen) {
        choices.push(Choice::new(chosen, format!("{chosen} days"), chosen));
    }
    choices
}

/// Streams all matching keys as CSV, 1,000 at a time, so that neither server nor database holds all of them in memory.
pub async fn csv(state: Data<State>, who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    who.actor.must(Permission::ReadKeys)?;
    let now = state.clock.now();
    let ((filter, ignored), sort, scope) = (asked.filter(now), asked.sort(), Scope::Tenant(who.shell.tenant.id));
    ignored.refuse()?;
    // State between batches: `None` after the last batch.
    let start = Some((state, filter, None::<KeyMark>, export::HEAD.to_owned()));
    let rows = stream::try_unfold(start, move |rest| async move {
        let Some((state, filter, after, head)) = rest else { return Ok::<_, Error>(None) };
        let (asked, from) = (filter.clone(), after);
        let batch = move |tx: &mut Tx<'_>| api_keys::export(tx, scope, &asked, sort, from.as_ref());
        let (keys, next) = state.reports.read(scope, batch).await?;
        let text = keys.iter().fold(head, |text, key| text + export::line(key, now).as_str());
        let rest = next.map(|mark| (state, filter, Some(mark), String::new()));
        Ok(Some((Bytes::from(text), rest)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"keys.csv\""))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(rows)))
}

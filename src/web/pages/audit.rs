//! Audit log: who changed what, with the changed values.

mod export;
pub mod view;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use actix_web::web::{Bytes, Data};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use futures_util::stream;
use serde::Deserialize;

use super::page;
use super::paging::PagePlace;
use crate::domain::audit::ACTIONS;
use crate::domain::time;
use crate::domain::{AuditEntryId, Error, FieldErrors, Permission, Rejection, Result};
use crate::services::audit::{self, AuditFilter};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Choice, Pager, filter, text};
use view::{Index, row};

const ROWS: i64 = 50;
/// Value of `of` by which an operator chooses the instance's own entries.
const INSTANCE: &str = "instance";

/// URL parameters of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Listing {
    of: String,
    actor: String,
    action: String,
    target: String,
    from: String,
    to: String,
    #[serde(flatten)]
    place: PagePlace,
}

impl Listing {
    /// Returns the filter, and an error for each invalid parameter.
    fn filter(&self) -> (AuditFilter, FieldErrors) {
        let mut ignored = self.place.noted::<AuditEntryId>();
        if ![INSTANCE, ""].contains(&self.of.as_str()) {
            ignored.add("of", Rejection::new("choice", "must be instance"));
        }
        let filter = AuditFilter {
            is_of_instance: self.of == INSTANCE,
            actor: filter::text(&self.actor),
            action: filter::text(&self.action),
            target: filter::text(&self.target),
            since: filter::read(&mut ignored, "from", &self.from, day),
            until: filter::read(&mut ignored, "to", &self.to, day).map(|day| day + TimeDelta::days(1)),
        };
        (filter, ignored)
    }

    fn parameters(&self) -> [(&'static str, &str); 6] {
        [
            ("of", &self.of),
            ("actor", self.actor.trim()),
            ("action", &self.action),
            ("target", self.target.trim()),
            ("from", &self.from),
            ("to", &self.to),
        ]
    }

    /// Returns the scope of the list. Only operators may read the entries of the instance.
    fn scope(&self, who: &SignedIn) -> Result<Scope> {
        who.actor.must(Permission::ReadAudit)?;
        match self.of.as_str() {
            INSTANCE if who.actor.is_operator => Ok(Scope::Instance),
            INSTANCE => Err(Error::forbidden("only operators can read the log of the instance")),
            _ => Ok(Scope::Tenant(who.shell.tenant.id)),
        }
    }
}

/// Returns the start of a day in UTC.
fn day(text: &str) -> Result<DateTime<Utc>, Rejection> {
    time::parse_day(text).map(|day| day.and_time(NaiveTime::MIN).and_utc())
}

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    let (scope, (filter, ignored), now) = (asked.scope(&who)?, asked.filter(), state.clock.now());
    who.shell.note_ignored(&ignored);
    let paging = asked.place.paging::<AuditEntryId>(ROWS);
    let found = state.pages.read(scope, move |tx| audit::list(tx, scope, &filter, &paging)).await?;
    let set = asked.parameters();
    let shown = |name: &str, value: &str| match name {
        "of" => ("Log".to_owned(), "the instance".to_owned()),
        "action" => ("Action".to_owned(), text::capitalized(crate::domain::audit::words(value))),
        _ => (text::label(name), value.to_owned()),
    };
    page(&Index {
        pager: Pager::new(urls::AUDIT, &set, &found),
        chips: filter::chips(urls::AUDIT, &set, shown),
        csv: filter::href(urls::AUDIT_CSV, &set),
        actions: actions(&asked.action),
        logs: logs(&asked.of, who.shell.is_operator),
        rows: found.rows.into_iter().map(|entry| row(entry, now)).collect(),
        actor: asked.actor,
        target: asked.target,
        from: asked.from,
        to: asked.to,
        shell: who.shell,
    })
}

fn actions(chosen: &str) -> Vec<Choice> {
    let each = ACTIONS.iter().map(|(action, words)| Choice::new(*action, text::capitalized(words), chosen));
    std::iter::once(Choice::new("", "Any", chosen)).chain(each).collect()
}

/// Returns the choice of logs, which only operators have.
fn logs(chosen: &str, is_operator: bool) -> Vec<Choice> {
    let both = Choice::list(&[("", "This tenant"), (INSTANCE, "The instance")], chosen);
    if is_operator { both } else { Vec::new() }
}

/// Streams all matching entries as CSV, 100 at a time, so that neither server nor database holds all of them in
/// memory.
pub async fn csv(state: Data<State>, who: SignedIn, Query(asked): Query<Listing>) -> Answer {
    let (scope, (filter, ignored)) = (asked.scope(&who)?, asked.filter());
    ignored.refuse()?;
    // State between batches: `None` after the last batch.
    let start = Some((state, filter, None::<AuditEntryId>, export::HEAD.to_owned()));
    let rows = stream::try_unfold(start, move |rest| async move {
        let Some((state, filter, before, head)) = rest else { return Ok::<_, Error>(None) };
        let asked = filter.clone();
        let batch = move |tx: &mut Tx<'_>| audit::export(tx, scope, &asked, before);
        let (entries, next) = state.reports.read(scope, batch).await?;
        let text = entries.iter().fold(head, |text, entry| text + export::line(entry).as_str());
        let rest = next.map(|mark| (state, filter, Some(mark), String::new()));
        Ok(Some((Bytes::from(text), rest)))
    });
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/csv; charset=utf-8"))
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""))
        .insert_header((CACHE_CONTROL, "no-store"))
        .streaming(Box::pin(rows)))
}

//! Overview of a tenant: figures, problems, and first steps.

pub mod view;

use actix_web::web::Data;
use chrono::{DateTime, Utc};

use super::deliveries::{names, show::row};
use super::page;
use super::spans::TimeQuery;
use super::webhooks::show::switches_off;
use crate::domain::delivery::DeliveryState;
use crate::domain::page::{PageSize, Paging};
use crate::domain::retry::{DISABLED_AFTER, WARNED_BEFORE};
use crate::domain::usage::Outcome;
use crate::services::deliveries::DeliveryFilter;
use crate::services::figures::{Deliveries, MOST_WAITING, Overview};
use crate::services::usage::UsageBucket;
use crate::services::{deliveries, figures, usage};
use crate::store::figures::TenantSetup;
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Tone, When, text};
use view::{Attention, Index, Stat, Step, Warning};

/// Number of failed deliveries shown.
const FAILURES: i64 = 5;

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<TimeQuery>) -> Answer {
    who.shell.note_ignored(&asked.ignored());
    let (actor, now) = (who.actor, state.clock.now());
    let stretch = asked.stretch(now);
    let tenant = actor.tenant;
    let read = move |tx: &mut Tx<'_>| {
        let scope = Scope::Tenant(tenant);
        let failed = DeliveryFilter { state: Some(DeliveryState::Failed), ..DeliveryFilter::default() };
        let few = Paging { size: PageSize::new(FAILURES).unwrap_or_default(), ..Paging::default() };
        let failures = deliveries::list(tx, scope, &failed, &few)?.rows;
        let names = names(tx, tenant, &failures, None)?;
        Ok((
            figures::overview(tx, &actor)?,
            usage::buckets(tx, scope, &stretch.span())?,
            figures::deliveries(tx, &actor, None, stretch.since(), stretch.step_seconds())?,
            failures,
            names,
        ))
    };
    let (overview, buckets, tally, failures, names) = state.pages.read(Scope::Tenant(tenant), read).await?;
    page(&Index {
        ranges: stretch.choices(urls::OVERVIEW),
        stats: stats(&overview, &buckets, &tally),
        verifications: stretch.usage_chart("verifications", &buckets),
        deliveries: stretch.deliveries_chart("deliveries", &tally.finished),
        warnings: warnings(&overview, now),
        attention: attention(&overview, now),
        more: more(&overview),
        failures: failures.into_iter().map(|delivery| row(delivery, &names, now)).collect(),
        steps: steps(&overview.standing),
        shell: who.shell,
    })
}

/// Returns the figures of the chosen time span.
fn stats(overview: &Overview, buckets: &[UsageBucket], tally: &Deliveries) -> Vec<Stat> {
    let total: i64 = buckets.iter().map(|bucket| bucket.total).sum();
    let valid: i64 = buckets.iter().filter_map(|bucket| bucket.by_outcome.get(&Outcome::Valid)).sum();
    let or_more = if tally.waiting < MOST_WAITING { "" } else { " or more" };
    let waiting = format!("{}{or_more} waiting", text::grouped(tally.waiting));
    let stat = |label, value: String, note: String, href| Stat { label, value, note, href };
    vec![
        stat("Verifications", text::grouped(total), String::new(), "/usage"),
        stat("Valid", text::share(valid, total), format!("{} refused", text::grouped(total - valid)), "/usage"),
        stat("Delivered", text::grouped(tally.delivered()), waiting, "/deliveries"),
        stat("Failed", text::grouped(tally.failed()), String::new(), "/deliveries?state=failed"),
        stat("Active keys", text::grouped(overview.active_keys), String::new(), "/keys?state=active"),
        stat(
            "Failing webhooks",
            text::grouped(overview.standing.troubled_webhooks),
            format!("of {}", text::grouped(overview.standing.webhooks)),
            "/webhooks",
        ),
    ]
}

/// Returns the active webhooks that will be disabled within [`WARNED_BEFORE`] unless an attempt succeeds.
fn warnings(overview: &Overview, now: DateTime<Utc>) -> Vec<Warning> {
    let ending = overview.troubled.rows.iter().filter_map(|webhook| {
        let off = webhook.failing_since.filter(|_| webhook.is_active)? + DISABLED_AFTER;
        (off - WARNED_BEFORE <= now).then(|| Warning {
            name: webhook.name.clone(),
            href: urls::webhook(webhook.id),
            says: format!("accepts no deliveries. {}", switches_off(off, now)),
        })
    });
    ending.collect()
}

fn attention(overview: &Overview, now: DateTime<Utc>) -> Vec<Attention> {
    let troubled = overview.troubled.rows.iter().map(|webhook| {
        let (state, text) = match (&webhook.disabled_reason, webhook.failing_since) {
            (Some(reason), _) if !webhook.is_active => ("disabled", format!("{} was disabled: {reason}", webhook.name)),
            (_, Some(since)) => {
                let off = When::new(since + DISABLED_AFTER, now).text;
                let began = When::new(since, now).text;
                ("failing", format!("{} started to fail {began} and will be disabled {off}", webhook.name))
            }
            _ => ("failing", format!("{} is failing", webhook.name)),
        };
        Attention { state: Badge::state(state), text, href: urls::webhook(webhook.id) }
    });
    let expiring = overview.expiring.rows.iter().map(|key| Attention {
        state: Badge::new(Tone::Warn, "clock", "Expiring"),
        text: format!("{} expires {}", key.name, When::new(key.at, now).text),
        href: format!("{}/{}", urls::KEYS, key.id),
    });
    let idle = overview.idle.rows.iter().map(|key| Attention {
        state: Badge::new(Tone::Idle, "minus", "Unused"),
        text: format!("{} has not been used for 30 days", key.name),
        href: format!("{}/{}", urls::KEYS, key.id),
    });
    troubled.chain(expiring).chain(idle).collect()
}

/// Returns the lists of which the overview shows only a part.
fn more(overview: &Overview) -> Vec<(&'static str, &'static str)> {
    let [failing, disabled] =
        [("Failing webhooks", "/webhooks?state=failing"), ("Disabled webhooks", "/webhooks?state=disabled")];
    let all = [
        (overview.troubled.is_capped, failing),
        (overview.troubled.is_capped, disabled),
        (overview.expiring.is_capped, ("Keys that expire within 7 days", "/keys?state=active&expiring_days=7")),
        (overview.idle.is_capped, ("Keys unused for 30 days", "/keys?state=active&unused_days=30")),
    ];
    all.into_iter().filter(|(is_capped, _)| *is_capped).map(|(_, link)| link).collect()
}

/// Returns the first steps of a new tenant, or nothing once all are done.
fn steps(standing: &TenantSetup) -> Vec<Step> {
    let done = [0 < standing.keys_ever, 0 < standing.webhooks, 0 < standing.events_ever];
    if done.iter().all(|is_done| *is_done) {
        return Vec::new();
    }
    let [key, webhook, event] = done;
    let step = |title, text, href, verb, is_done| Step { title, text, href, verb, is_done };
    vec![
        step("Create an API key", "One for each program that calls your API.", urls::NEW_KEY, "Create key", key),
        step(
            "Add a webhook",
            "A customer's URL that receives your events.",
            urls::NEW_WEBHOOK,
            "Create webhook",
            webhook,
        ),
        step(
            "Publish an event",
            "Follow its signed request on the Deliveries page.",
            urls::NEW_EVENT,
            "Publish event",
            event,
        ),
    ]
}

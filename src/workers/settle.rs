//! Settling worker: writes the results of attempts, batched in one transaction.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::deliver::Done;
use super::waiting_webhooks::WaitingWebhooks;
use super::{Context, Stop, is_over};
use crate::domain::{Error, Result};
use crate::services::delivery_signal::DueWebhooks;
use crate::services::dispatch::{self, Settlement, Written};
use crate::store::{Tx, patience};

const MOST_AT_ONCE: usize = 64;
/// Time that the first result of a batch waits for more.
const GATHERING: Duration = Duration::from_millis(1);

/// Describes the counters and sets them to zero, so that monitoring sees the first increment.
fn describe() {
    metrics::describe_counter!("gatepost_attempts_total", "Attempts to deliver, by whether the receiver took it");
    metrics::describe_counter!("gatepost_deliveries_total", "Deliveries that have ended, by how");
    metrics::describe_counter!(
        "gatepost_settlements_late_total",
        "Attempts that came back after their lease had been lost: each was made again"
    );
    for success in ["true", "false"] {
        metrics::counter!("gatepost_attempts_total", "success" => success).absolute(0);
    }
    metrics::counter!("gatepost_settlements_late_total").absolute(0);
}

/// Settles until all senders are gone.
pub async fn run(context: Context, more: Arc<WaitingWebhooks>, mut done: UnboundedReceiver<Done>, stop: Stop) {
    describe();
    let mut batch = Vec::with_capacity(MOST_AT_ONCE);
    while 0 < done.recv_many(&mut batch, MOST_AT_ONCE).await {
        if batch.len() < MOST_AT_ONCE {
            tokio::time::sleep(GATHERING).await;
            while batch.len() < MOST_AT_ONCE && done.try_recv().map(|one| batch.push(one)).is_ok() {}
        }
        let tenants: HashSet<_> = answered(&batch).map(|one| one.settlement.tenant()).collect();
        let next = next(&batch);
        let (settlements, slots): (Vec<_>, Vec<_>) = batch.drain(..).map(|one| (one.settlement, one.slot)).unzip();
        write(&context, settlements, &stop).await;
        drop(slots);
        context.delivery_signal.notify(next);
        context.delivery_signal.notify(more.call(&tenants));
    }
}

fn answered(batch: &[Done]) -> impl Iterator<Item = &Done> {
    batch.iter().filter(|one| !one.settlement.is_silent())
}

/// Returns webhooks to try next. Failing webhooks are sent one request at a time. When one recovers, others with the
/// same host may have waited, so look at all.
fn next(batch: &[Done]) -> DueWebhooks {
    let answered = || answered(batch).filter(|one| one.slot.is_of_failing()).map(|one| &one.settlement);
    match answered().any(Settlement::is_success) {
        true => DueWebhooks::Anywhere,
        false => DueWebhooks::at(answered().map(Settlement::webhook)),
    }
}

/// Writes a batch. If the database refuses it, writes each settlement alone, so that one bad row does not spoil the
/// rest.
async fn write(context: &Context, settlements: Vec<Settlement>, stop: &Stop) {
    let settlements: Arc<[Settlement]> = settlements.into();
    match persist(context, &settlements, stop).await {
        Ok(()) => {}
        Err(Error::Unavailable(_)) if is_over(stop) => {
            tracing::warn!(
                count = settlements.len(),
                "attempts can't be settled before the stop: their leases will run out"
            );
        }
        Err(error) => {
            tracing::warn!(cause = ?std::error::Error::source(&error), "a batch of settlements was refused: each goes by itself");
            for one in settlements.iter() {
                write_alone(context, one.clone(), stop).await;
            }
        }
    }
}

async fn write_alone(context: &Context, settlement: Settlement, stop: &Stop) {
    let whole: Arc<[Settlement]> = [settlement.clone()].into();
    if persist(context, &whole, stop).await.is_ok() {
        return;
    }
    let bare: Arc<[Settlement]> = [settlement.without_answer()].into();
    if let Err(error) = persist(context, &bare, stop).await {
        tracing::error!(cause = ?std::error::Error::source(&error), "an attempt can't be settled: its lease will run out");
    }
}

/// Retries while the database accepts no writes.
async fn persist(context: &Context, batch: &Arc<[Settlement]>, stop: &Stop) -> Result<()> {
    let (clock, rows) = (context.clock.clone(), Arc::clone(batch));
    let settle = move |tx: &mut Tx<'_>| dispatch::settle(tx, &rows, clock.offset());
    let written = patience::persist(&context.db, || is_over(stop), settle).await?;
    count(batch, &written);
    Ok(())
}

fn count(batch: &[Settlement], written: &Written) {
    for one in batch {
        metrics::counter!("gatepost_attempts_total", "success" => if one.is_success() { "true" } else { "false" })
            .increment(1);
        if one.state().is_final() && written.has(one) {
            metrics::counter!("gatepost_deliveries_total", "state" => one.state().as_str()).increment(1);
        }
    }
    let Written { cancelled, late, .. } = *written;
    if 0 < cancelled {
        tracing::info!(cancelled, "attempts came back after their delivery had been cancelled: it stays cancelled");
    }
    if 0 < late {
        metrics::counter!("gatepost_settlements_late_total").increment(u64::try_from(late).unwrap_or(0));
        tracing::warn!(late, "attempts came back after their lease had been lost: they change nothing");
    }
}

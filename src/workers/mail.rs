//! Mail worker: sends queued mail, if a mail server is configured.

use std::sync::Arc;
use std::time::Duration;

use super::{Context, Stop, is_over, pause};
use crate::model::Mail;
use crate::outbound::Mailer;
use crate::services::mail;
use crate::store::{Scope, Tx, patience};

const EVERY: Duration = Duration::from_secs(1);
const MOST_AT_ONCE: i64 = 10;

pub async fn run(context: Context, mut stop: Stop) {
    let Some(mailer) = context.mailer.clone() else { return };
    while pause(&mut stop, EVERY).await {
        match context.db.tx(Scope::Instance, move |tx| mail::claim(tx, MOST_AT_ONCE)).await {
            Ok(due) => {
                for one in due {
                    send(&context, &mailer, one, &stop).await;
                }
            }
            Err(error) => {
                tracing::debug!(cause = ?std::error::Error::source(&error), "letters can't be looked at just now");
            }
        }
    }
}

/// Sends one mail. No transaction is open while it talks to the mail server.
async fn send(context: &Context, mailer: &Arc<Mailer>, one: Mail, stop: &Stop) {
    let unsent = match mail::opened(&context.vault, &one) {
        Ok(letter) => mailer.send(&letter).await.err().map(|unsent| (unsent.says, unsent.is_hopeless)),
        Err(_) => Some(("it can't be opened with these master keys".to_owned(), true)),
    };
    let id = one.id;
    let is_stopping = || is_over(stop);
    // If this result is lost, the lease expires and the mail is sent a second time.
    let done = match unsent {
        None => patience::persist(&context.db, is_stopping, move |tx| mail::sent(tx, &one)).await.map(|()| true),
        Some((says, is_hopeless)) => {
            tracing::warn!(mail = id, says = says.as_str(), "a letter could not be sent");
            let failed = move |tx: &mut Tx<'_>| mail::failed(tx, &one, (&says, is_hopeless));
            patience::persist(&context.db, is_stopping, failed).await
        }
    };
    match done {
        Ok(true) => {}
        Ok(false) => tracing::warn!(mail = id, "a letter was given up: make its link anew and send it yourself"),
        Err(error) => {
            tracing::warn!(mail = id, cause = ?std::error::Error::source(&error), "what became of a letter can't be noted");
        }
    }
}

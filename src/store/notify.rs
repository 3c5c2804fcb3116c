//! Change notifications for every process, sent by Postgres `NOTIFY` when the change commits.

use std::fmt;
use std::str::FromStr;

use diesel::prelude::*;
use diesel::sql_types::{Array, Text};

use super::cached_sql::cached_sql;
use crate::domain::{Error, Rejection, Result, TenantId, WebhookId};

/// Channel that every process listens on.
pub const CHANNEL: &str = "gatepost";

/// A change that other processes need to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A key changed, given by its public id.
    Key(String),
    /// A tenant changed.
    Tenant(TenantId),
    /// Users, memberships or access tokens changed.
    Access,
    /// Deliveries became due at webhooks that are not named.
    Delivery,
    /// Deliveries became due at these webhooks.
    DeliveryAt(Vec<WebhookId>),
}

/// Maximum number of webhook ids in one notification: Postgres takes less than 8,000 bytes.
const MOST_WEBHOOKS: usize = 200;

impl Change {
    /// Creates the notification about deliveries at these webhooks. If they are too many, it names none.
    pub fn delivery_at(webhooks: impl IntoIterator<Item = WebhookId>) -> Self {
        let mut webhooks: Vec<WebhookId> = webhooks.into_iter().collect();
        webhooks.sort_unstable();
        webhooks.dedup();
        if webhooks.len() <= MOST_WEBHOOKS { Self::DeliveryAt(webhooks) } else { Self::Delivery }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(public_id) => write!(f, "key:{public_id}"),
            Self::Tenant(tenant) => write!(f, "tenant:{tenant}"),
            Self::Access => f.write_str("access"),
            Self::Delivery => f.write_str("delivery"),
            Self::DeliveryAt(webhooks) => {
                let ids: Vec<String> = webhooks.iter().map(ToString::to_string).collect();
                write!(f, "delivery:{}", ids.join(","))
            }
        }
    }
}

impl FromStr for Change {
    type Err = Rejection;
    fn from_str(text: &str) -> Result<Self, Rejection> {
        match text.split_once(':') {
            Some(("key", public_id)) => Ok(Self::Key(public_id.to_owned())),
            Some(("tenant", id)) => Ok(Self::Tenant(id.parse()?)),
            Some(("delivery", ids)) => Ok(Self::DeliveryAt(ids.split(',').map(str::parse).collect::<Result<_, _>>()?)),
            None if text == "access" => Ok(Self::Access),
            None if text == "delivery" => Ok(Self::Delivery),
            _ => Err(Rejection::new("change", "is no change that this version knows")),
        }
    }
}

/// Notifies every process of several changes, in one statement.
pub(super) fn send_all(conn: &mut PgConnection, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    cached_sql("SELECT count(pg_notify($1, change)) FROM unnest($2) AS news (change)")
        .bind::<Text, _>(CHANNEL)
        .bind::<Array<Text>, _>(changes)
        .execute(conn)?;
    Ok(())
}

/// Subscribes this connection to the channel.
pub fn listen(conn: &mut PgConnection) -> Result<()> {
    diesel::sql_query(format!("LISTEN {CHANNEL}")).execute(conn)?;
    Ok(())
}

/// Returns the changes received since the last call, without waiting and without SQL. Changes that only a newer
/// version knows are skipped.
pub fn heard(conn: &mut PgConnection) -> Result<Vec<Change>> {
    let mut heard = Vec::new();
    for news in conn.notifications_iter() {
        heard.extend(news.map_err(Error::unavailable)?.payload.parse());
    }
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_can_be_written_and_parsed_again() {
        let (one, some) = (Change::delivery_at([WebhookId(7)]), Change::delivery_at([9, 7, 9].map(WebhookId)));
        assert_eq!(some, Change::DeliveryAt(vec![WebhookId(7), WebhookId(9)]));
        for change in
            [Change::Key("pk_1".into()), Change::Tenant(TenantId(7)), Change::Access, Change::Delivery, one, some]
        {
            assert_eq!(change.to_string().parse::<Change>().unwrap(), change);
        }
        for unknown in ["key", "tenant:x", "delivery:", "delivery:7,x"] {
            assert!(unknown.parse::<Change>().is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_change_at_too_many_webhooks_names_none() {
        let largest = (0..200).map(|n| WebhookId(i64::MAX - n));
        assert!(Change::delivery_at(largest).to_string().len() < 8_000);
        assert_eq!(Change::delivery_at((0..201).map(WebhookId)), Change::Delivery);
    }
}

//! Comparison of the database's clock with this machine's.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;

use super::cached_sql::cached_sql;
use crate::domain::{Clock, Result};

/// Longest round trip that still gives a useful offset.
const LONGEST: TimeDelta = TimeDelta::seconds(1);

#[derive(QueryableByName)]
struct Moment {
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// Returns how far `clock` is ahead of the database's clock; negative if it is behind. `None` if the round trip took
/// too long.
pub fn offset(conn: &mut PgConnection, clock: &Clock) -> Result<Option<TimeDelta>> {
    let sent = clock.now();
    let Moment { now } = cached_sql("SELECT clock_timestamp() AS now").get_result(conn)?;
    // The database is assumed to have read its clock halfway through the round trip.
    let trip = clock.now() - sent;
    Ok((trip <= LONGEST).then(|| sent + trip / 2 - now))
}

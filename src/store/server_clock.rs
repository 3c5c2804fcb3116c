//! The database's clock, compared with this machine's.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;

use super::kept::kept;
use crate::domain::{Clock, Result};

/// Longest round trip that still says where the clocks stand.
const LONGEST: TimeDelta = TimeDelta::seconds(1);

#[derive(QueryableByName)]
struct Moment {
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
}

/// Time by which `clock` is ahead of the database's; negative where it is behind. `None` where the answer took too long to
/// tell.
pub fn offset(conn: &mut PgConnection, clock: &Clock) -> Result<Option<TimeDelta>> {
    let sent = clock.now();
    let Moment { now } = kept("SELECT clock_timestamp() AS now").get_result(conn)?;
    let trip = clock.now() - sent;
    Ok((trip <= LONGEST).then(|| sent + trip / 2 - now))
}

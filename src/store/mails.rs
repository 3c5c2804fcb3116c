//! Queries on `mails`: the queue of mail to send.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::domain::{Result, TenantId};
use crate::model::Mail;
use crate::schema::mails;

#[derive(QueryableByName)]
struct Next {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Returns the id of a mail to insert. Its content is sealed for this id, so the id comes first.
pub fn next_id(conn: &mut PgConnection) -> Result<i64> {
    Ok(diesel::sql_query("SELECT nextval('mails_id_seq') AS id").get_result::<Next>(conn)?.id)
}

/// Inserts a mail that is due at once.
pub fn insert(
    conn: &mut PgConnection,
    id: i64,
    tenant: Option<TenantId>,
    recipient: &str,
    (sealed, link_digest): (&[u8], Option<&[u8]>),
    now: DateTime<Utc>,
) -> Result<()> {
    let row = (
        mails::id.eq(id),
        mails::tenant_id.eq(tenant),
        mails::recipient.eq(recipient),
        mails::sealed.eq(sealed),
        mails::link_digest.eq(link_digest),
        mails::next_attempt_at.eq(now),
        mails::created_at.eq(now),
    );
    diesel::insert_into(mails::table).values(row).execute(conn)?;
    Ok(())
}

/// Claims up to `limit` due mails until `until`, and counts the coming attempt of each. No other worker gets them
/// before then.
pub fn claim(conn: &mut PgConnection, limit: i64, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<Vec<Mail>> {
    // SKIP LOCKED: two workers at once take different mails, without waiting for each other.
    let due: Vec<i64> = mails::table
        .filter(mails::next_attempt_at.le(now))
        .order(mails::next_attempt_at)
        .limit(limit)
        .select(mails::id)
        .for_update()
        .skip_locked()
        .load(conn)?;
    let taken = diesel::update(mails::table.filter(mails::id.eq_any(due)));
    let taken = taken.set((mails::attempts.eq(mails::attempts + 1), mails::next_attempt_at.eq(until)));
    Ok(taken.returning(Mail::as_returning()).get_results(conn)?)
}

/// Deletes a mail that was sent or given up.
pub fn delete(conn: &mut PgConnection, id: i64) -> Result<()> {
    diesel::delete(mails::table.filter(mails::id.eq(id))).execute(conn)?;
    Ok(())
}

/// Sets the time of a mail's next attempt.
pub fn postpone(conn: &mut PgConnection, id: i64, until: DateTime<Utc>) -> Result<()> {
    diesel::update(mails::table.filter(mails::id.eq(id))).set(mails::next_attempt_at.eq(until)).execute(conn)?;
    Ok(())
}

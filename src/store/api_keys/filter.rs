//! Lists of keys: which ones, in which order, and a page of them.

use chrono::{DateTime, Utc};
use diesel::dsl::{not, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};

use super::search::{Narrowed, by_order, matching, narrowed};
use crate::domain::api_key::{Environment, KeyMark, KeySort, KeyState, Place, RESTORABLE_FOR};
use crate::domain::page::Paging;
use crate::domain::{ApiKeyId, Result, UserId};
use crate::model::ApiKey;
use crate::schema::api_keys;
use crate::store::Scope;

/// Which keys of a list are wanted. Deleted ones only where the state says so.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Beginnings of words of a name, hint, public id, owner, tag or scope, in either case.
    pub text: Option<String>,
    pub state: Option<KeyState>,
    pub environment: Option<Environment>,
    pub user: Option<UserId>,
    /// Exactly this one.
    pub owner: Option<String>,
    /// Any of these: a scope, and those that allow it too.
    pub scopes: Vec<String>,
    pub tag: Option<String>,
    /// Not used since, and not made since.
    pub unused_since: Option<DateTime<Utc>>,
    /// Not expired yet, but then.
    pub expiring_until: Option<DateTime<Utc>>,
}

impl KeyFilter {
    /// Whether nothing is asked but words and marks.
    fn is_of_marks(&self) -> bool {
        let is_ended = matches!(self.state, Some(KeyState::Expired | KeyState::Rotating | KeyState::Deleted));
        let is_narrower = self.user.is_some() || self.owner.is_some();
        !is_ended && !is_narrower && self.unused_since.is_none() && self.expiring_until.is_none()
    }
}

type Query<'a> = api_keys::BoxedQuery<'a, Pg>;

/// Keys that are asked for, and whether to walk through them in the order of the list.
struct Found<'a> {
    query: Query<'a>,
    is_walked: bool,
}

/// One page in the order of `sort`, and one row more; backwards where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    paging: &Paging<KeyMark>,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let Found { query, is_walked } = found(conn, scope, filter, now)?;
    let mut query = query.limit(paging.size.plus_one());
    if let Some(mark) = &paging.before {
        query = query.filter(beyond(mark, false));
    }
    query = match &paging.after {
        Some(mark) => sorted(query.filter(beyond(mark, true)), sort, true),
        None => sorted(query, sort, false),
    };
    let Some(offset) = paging.offset.filter(|offset| *offset != 0) else {
        return in_order(conn, sort, is_walked, |conn| query.select(ApiKey::as_select()).load(conn));
    };
    // What is skipped is not read where an index knows enough.
    let ids: Vec<ApiKeyId> =
        in_order(conn, sort, is_walked, |conn| query.offset(offset).select(api_keys::id).load(conn))?;
    let page = api_keys::table.filter(api_keys::id.eq_any(ids)).into_boxed();
    Ok(sorted(page, sort, paging.after.is_some()).select(ApiKey::as_select()).load(conn)?)
}

/// The next `limit` rows after this one, however many that are: for exports.
pub fn list_after(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    mark: Option<&KeyMark>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let Found { query, is_walked } = found(conn, scope, filter, now)?;
    let mut query = query.limit(limit);
    if let Some(mark) = mark {
        query = query.filter(beyond(mark, false));
    }
    let query = sorted(query, sort, false).select(ApiKey::as_select());
    in_order(conn, sort, is_walked, |conn| query.load(conn))
}

pub fn count(conn: &mut PgConnection, scope: Scope, filter: &KeyFilter, now: DateTime<Utc>) -> Result<i64> {
    Ok(found(conn, scope, filter, now)?.query.count().get_result(conn)?)
}

/// By an index of their own where the filter leaves few.
fn found<'a>(conn: &mut PgConnection, scope: Scope, filter: &'a KeyFilter, now: DateTime<Utc>) -> Result<Found<'a>> {
    let query = filtered(scope, filter, now);
    Ok(match narrowed(conn, scope, filter)? {
        Narrowed::Few(condition) => Found { query: query.filter(condition), is_walked: false },
        Narrowed::Many => Found { query, is_walked: filter.is_of_marks() },
        Narrowed::Unknown => Found { query, is_walked: false },
    })
}

/// Loads a page. No index has the order of last use.
fn in_order<T>(
    conn: &mut PgConnection,
    sort: KeySort,
    is_walked: bool,
    load: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> Result<T> {
    if is_walked && sort != KeySort::LastUsed { by_order(conn, load) } else { Ok(load(conn)?) }
}

fn filtered<'a>(scope: Scope, filter: &'a KeyFilter, now: DateTime<Utc>) -> Query<'a> {
    let mut query = api_keys::table.into_boxed();
    query = match filter.state {
        Some(state) => in_state(query, state, now),
        None => query.filter(api_keys::deleted_at.is_null()),
    };
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(api_keys::tenant_id.eq(tenant));
    }
    if let Some(environment) = filter.environment {
        query = query.filter(api_keys::environment.eq(environment));
    }
    if let Some(user) = filter.user {
        query = query.filter(api_keys::user_id.eq(user));
    }
    if let Some(text) = &filter.text {
        query = query.filter(matching(scope, text));
    }
    marked(query, filter, now)
}

/// By what stands on a key, and by what has become of it.
fn marked<'a>(mut query: Query<'a>, filter: &'a KeyFilter, now: DateTime<Utc>) -> Query<'a> {
    if let Some(owner) = &filter.owner {
        query = query.filter(api_keys::owner.eq(owner));
    }
    if !filter.scopes.is_empty() {
        query = query.filter(sql::<Bool>("api_keys.scopes && ").bind::<Array<Text>, _>(&filter.scopes));
    }
    if let Some(tag) = &filter.tag {
        query = query.filter(sql::<Bool>("").bind::<Text, _>(tag).sql(" = ANY(api_keys.tags)"));
    }
    if let Some(since) = filter.unused_since {
        let unused = sql::<Bool>("coalesce(api_keys.last_used_at, api_keys.created_at) <= ");
        query = query.filter(unused.bind::<Timestamptz, _>(since));
    }
    if let Some(until) = filter.expiring_until {
        query = query.filter(api_keys::revoked_at.is_null());
        query = query.filter(api_keys::expires_at.gt(now)).filter(api_keys::expires_at.le(until));
    }
    query
}

/// What [`ApiKey::state`] says, as SQL.
fn in_state(query: Query<'_>, state: KeyState, now: DateTime<Utc>) -> Query<'_> {
    if state == KeyState::Deleted {
        return query.filter(api_keys::deleted_at.gt(now - RESTORABLE_FOR));
    }
    let query = query.filter(api_keys::deleted_at.is_null());
    if state == KeyState::Revoked {
        return query.filter(api_keys::revoked_at.is_not_null());
    }
    let query = query.filter(api_keys::revoked_at.is_null());
    if state == KeyState::Expired {
        return query.filter(api_keys::expires_at.le(now).or(api_keys::rotates_out_at.le(now)));
    }
    let in_time = api_keys::expires_at.is_null().nullable().or(api_keys::expires_at.gt(now));
    let in_overlap = api_keys::rotates_out_at.is_null().nullable().or(api_keys::rotates_out_at.gt(now));
    let query = query.filter(in_time).filter(in_overlap);
    match state {
        KeyState::Disabled => query.filter(not(api_keys::is_active)),
        KeyState::Rotating => query.filter(api_keys::is_active).filter(api_keys::rotates_out_at.is_not_null()),
        _ => query.filter(api_keys::is_active).filter(api_keys::rotates_out_at.is_null()),
    }
}

fn sorted(query: Query<'_>, sort: KeySort, is_backwards: bool) -> Query<'_> {
    let order = match (sort, is_backwards) {
        (KeySort::Newest, false) => "api_keys.id DESC",
        (KeySort::Newest, true) => "api_keys.id",
        (KeySort::Name, false) => "lower(api_keys.name), api_keys.id",
        (KeySort::Name, true) => "lower(api_keys.name) DESC, api_keys.id DESC",
        (KeySort::LastUsed, false) => "api_keys.last_used_at DESC NULLS LAST, api_keys.id DESC",
        (KeySort::LastUsed, true) => "api_keys.last_used_at NULLS FIRST, api_keys.id",
        (KeySort::Expires, false) => "api_keys.expires_at, api_keys.id",
        (KeySort::Expires, true) => "api_keys.expires_at DESC, api_keys.id DESC",
    };
    query.order(sql::<Bool>(order))
}

type Beyond = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Nullable<Bool>>>;

/// The rows after this place in the list, or before it.
fn beyond(mark: &KeyMark, is_before: bool) -> Beyond {
    let id = mark.id;
    match (&mark.place, is_before) {
        (Place::Newest, false) => Box::new(api_keys::id.lt(id).nullable()),
        (Place::Newest, true) => Box::new(api_keys::id.gt(id).nullable()),
        (Place::Name(name), _) => {
            let than = if is_before { ") < (lower(" } else { ") > (lower(" };
            let row = sql::<Nullable<Bool>>("(lower(api_keys.name), api_keys.id").sql(than);
            Box::new(row.bind::<Text, _>(name.clone()).sql("), ").bind::<BigInt, _>(id).sql(")"))
        }
        // Those never used stand at the end.
        (Place::LastUsed(Some(at)), false) => Box::new(
            api_keys::last_used_at
                .lt(*at)
                .or(api_keys::last_used_at.eq(*at).and(api_keys::id.lt(id)))
                .or(api_keys::last_used_at.is_null().nullable()),
        ),
        (Place::LastUsed(None), false) => {
            Box::new(api_keys::last_used_at.is_null().and(api_keys::id.lt(id)).nullable())
        }
        (Place::LastUsed(Some(at)), true) => {
            Box::new(api_keys::last_used_at.gt(*at).or(api_keys::last_used_at.eq(*at).and(api_keys::id.gt(id))))
        }
        (Place::LastUsed(None), true) => {
            Box::new(api_keys::last_used_at.is_not_null().or(api_keys::id.gt(id)).nullable())
        }
        // And so do those that never expire.
        (Place::Expires(Some(at)), false) => Box::new(
            api_keys::expires_at
                .gt(*at)
                .or(api_keys::expires_at.eq(*at).and(api_keys::id.gt(id)))
                .or(api_keys::expires_at.is_null().nullable()),
        ),
        (Place::Expires(None), false) => Box::new(api_keys::expires_at.is_null().and(api_keys::id.gt(id)).nullable()),
        (Place::Expires(Some(at)), true) => {
            Box::new(api_keys::expires_at.lt(*at).or(api_keys::expires_at.eq(*at).and(api_keys::id.lt(id))))
        }
        (Place::Expires(None), true) => Box::new(api_keys::expires_at.is_not_null().or(api_keys::id.lt(id)).nullable()),
    }
}

//! Key lists: filter, order and page.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use diesel::dsl::{not, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};

use super::search::{Narrowed, by_order, matching, narrowed, words};
use super::uses::{self, Stretch};
use crate::domain::api_key::{Environment, KeyMark, KeySort, KeyState, RESTORABLE_FOR, SortValue};
use crate::domain::page::Paging;
use crate::domain::text;
use crate::domain::{ApiKeyId, Result, UserId};
use crate::model::ApiKey;
use crate::schema::api_keys;
use crate::store::Scope;

/// Filter of the key list. Deleted keys are left out unless `state` asks for them.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Starts of words in the name, hint, public id, owner, tags or scopes, ignoring case and accents.
    pub text: Option<String>,
    /// State of the key.
    pub state: Option<KeyState>,
    /// Value of the field `is_active`: an active key can still be expired or revoked.
    pub is_active: Option<bool>,
    /// Environment of the key.
    pub environment: Option<Environment>,
    /// User that the key belongs to.
    pub user: Option<UserId>,
    /// Owner, exactly.
    pub owner: Option<String>,
    /// Scopes of which the key has at least one. The caller adds the wildcards that allow them.
    pub scopes: Vec<String>,
    /// Tag that the key has.
    pub tag: Option<String>,
    /// Neither used nor created since this time.
    pub unused_since: Option<DateTime<Utc>>,
    /// Valid now and expiring before this time.
    pub expiring_until: Option<DateTime<Utc>>,
}

impl KeyFilter {
    /// True if the filter asks for nothing but words, indexed terms, and a time without use.
    fn is_of_marks(&self) -> bool {
        let is_ended = matches!(self.state, Some(KeyState::Expired | KeyState::Rotating | KeyState::Deleted));
        let is_narrower = self.user.is_some() || self.owner.is_some() || self.is_active.is_some();
        !is_ended && !is_narrower && self.expiring_until.is_none()
    }

    /// True if the filter asks for nothing but a time without use.
    fn is_of_use(&self) -> bool {
        let has_marks = self.text.is_some() || self.environment.is_some() || self.tag.is_some();
        self.is_of_marks() && !has_marks && self.scopes.is_empty() && self.state.is_none()
    }
}

/// Maximum number of unused keys that are looked up one by one instead of walking through all keys.
const FEW_UNUSED: i64 = 5_000;
/// Limit on keys of `key_uses` that are walked for one page. If more would be needed, few match the rest of the filter.
const MOST_WALKED: i64 = 20_000;
/// Offset in a list from which skipped rows become expensive.
const DEEP: i64 = 1_000;

type Query<'a> = api_keys::BoxedQuery<'a, Pg>;

/// Request for a list: who asks for which keys, in which order and when.
#[derive(Clone, Copy)]
struct ListRequest<'a> {
    scope: Scope,
    filter: &'a KeyFilter,
    /// Folded words of the filter's text.
    words: &'a [String],
    sort: KeySort,
    now: DateTime<Utc>,
}

/// Query for the requested keys, and whether to walk through them in the order of the list.
struct PlannedQuery<'a> {
    query: Query<'a>,
    is_walked: bool,
}

/// Returns one page in the order of `sort` and one row more; in reverse order if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    paging: &Paging<KeyMark>,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let stretch = Stretch {
        mark: paging.after.as_ref().or(paging.before.as_ref()),
        is_backwards: paging.after.is_some(),
        limit: paging.size.plus_one(),
        offset: paging.offset.unwrap_or_default(),
    };
    let words = words(conn, filter)?;
    read(conn, ListRequest { scope, filter, words: &words, sort, now }, &stretch)
}

/// Returns the next `limit` rows after a place in the list, whatever their number. Used for exports.
pub fn list_after(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    mark: Option<&KeyMark>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let stretch = Stretch { mark, is_backwards: false, limit, offset: 0 };
    let words = words(conn, filter)?;
    read(conn, ListRequest { scope, filter, words: &words, sort, now }, &stretch)
}

/// Counts the keys that match a filter.
pub fn count(conn: &mut PgConnection, scope: Scope, filter: &KeyFilter, now: DateTime<Utc>) -> Result<i64> {
    if let (Scope::Tenant(tenant), Some(since), true) = (scope, filter.unused_since, filter.is_of_use()) {
        return uses::count_unused(conn, tenant, since);
    }
    let words = words(conn, filter)?;
    let narrowed = narrowed(conn, scope, filter, &words)?;
    let asked = ListRequest { scope, filter, words: &words, sort: KeySort::Newest, now };
    Ok(found(conn, asked, narrowed)?.query.count().get_result(conn)?)
}

/// Reads one stretch of a list, by the cheapest index that fits.
fn read(conn: &mut PgConnection, asked: ListRequest<'_>, stretch: &Stretch<'_>) -> Result<Vec<ApiKey>> {
    let ListRequest { scope, filter, words, sort, .. } = asked;
    let narrowed = narrowed(conn, scope, filter, words)?;
    if let Some(ids) = by_uses(conn, asked, &narrowed, stretch)? {
        return these(conn, &ids, sort, stretch);
    }
    let PlannedQuery { mut query, is_walked } = found(conn, asked, narrowed)?;
    if let Some(mark) = stretch.mark {
        query = query.filter(beyond(mark, stretch.is_backwards));
    }
    let query = sorted(query, sort, stretch.is_backwards).limit(stretch.limit);
    if stretch.offset == 0 {
        return in_order(conn, sort, is_walked, |conn| query.select(ApiKey::as_select()).load(conn));
    }
    // Skipped rows are counted in an index where possible: only the ids of the page are used to read rows.
    let ids: Vec<ApiKeyId> =
        in_order(conn, sort, is_walked, |conn| query.offset(stretch.offset).select(api_keys::id).load(conn))?;
    these(conn, &ids, sort, stretch)
}

/// Loads these keys in the order of the list.
fn these(conn: &mut PgConnection, ids: &[ApiKeyId], sort: KeySort, stretch: &Stretch<'_>) -> Result<Vec<ApiKey>> {
    let query = api_keys::table.filter(among(ids)).into_boxed();
    Ok(sorted(query, sort, stretch.is_backwards).select(ApiKey::as_select()).load(conn)?)
}

/// Returns the ids of a page by way of `key_uses`, if it has the order or the filter of the list. `None` for other
/// lists, and if too few of its keys match the rest of the filter.
fn by_uses(
    conn: &mut PgConnection,
    asked: ListRequest<'_>,
    narrowed: &Narrowed,
    stretch: &Stretch<'_>,
) -> Result<Option<Vec<ApiKeyId>>> {
    let ListRequest { scope, filter, .. } = asked;
    let is_of_uses = match (scope, narrowed) {
        (Scope::Tenant(_), Narrowed::Many) => filter.is_of_marks(),
        // Few keys match: they are sorted by `key_uses` before their wide rows are read.
        (Scope::Tenant(_), Narrowed::Few(_)) => asked.sort == KeySort::LastUsed && filter.is_of_marks(),
        (Scope::Tenant(_), Narrowed::Unknown) => false,
        (Scope::Instance, _) => filter.is_of_use(),
    };
    // The first keys of each week are merged: at a large offset the skipped ones would be read once for every week.
    let is_deep = filter.unused_since.is_some() && DEEP < stretch.offset;
    if !is_of_uses || is_deep {
        return Ok(None);
    }
    if filter.is_of_use() {
        return Ok(
            next_by_uses(conn, asked, narrowed, stretch)?.map(|marks| marks.into_iter().map(|mark| mark.id).collect())
        );
    }
    // Walks on in growing steps until enough keys match the rest of the filter.
    let wanted = usize::try_from(stretch.offset + stretch.limit).unwrap_or(usize::MAX);
    let (mut met, mut last) = (Vec::new(), stretch.mark.cloned());
    let mut limit = 2 * (stretch.offset + stretch.limit);
    while limit <= MOST_WALKED {
        let next = Stretch { mark: last.as_ref(), limit, offset: 0, ..*stretch };
        let Some(marks) = next_by_uses(conn, asked, narrowed, &next)? else { return Ok(None) };
        let ids: Vec<_> = marks.iter().map(|mark| mark.id).collect();
        let meets = filtered(asked).filter(among(&ids)).select(api_keys::id);
        let meets: HashSet<ApiKeyId> = meets.load(conn)?.into_iter().collect();
        let is_end = i64::try_from(ids.len()).is_ok_and(|count| count < limit);
        met.extend(ids.into_iter().filter(|id| meets.contains(id)));
        if is_end || wanted <= met.len() {
            met.truncate(wanted);
            return Ok(Some(met.into_iter().skip(usize::try_from(stretch.offset).unwrap_or(wanted)).collect()));
        }
        last = marks.last().cloned();
        limit *= 4;
    }
    Ok(None)
}

/// Reads the next places of the list from `key_uses`; `None` if it has no index for this order.
fn next_by_uses(
    conn: &mut PgConnection,
    asked: ListRequest<'_>,
    narrowed: &Narrowed,
    stretch: &Stretch<'_>,
) -> Result<Option<Vec<KeyMark>>> {
    match (asked.sort, asked.scope, asked.filter.unused_since) {
        (KeySort::LastUsed, Scope::Tenant(tenant), since) if let Narrowed::Few(rare) = narrowed => {
            uses::rare_by_use(conn, tenant, rare, since, stretch).map(Some)
        }
        (KeySort::LastUsed, scope, None) => uses::by_use(conn, scope, stretch).map(Some),
        (KeySort::LastUsed, Scope::Tenant(tenant), Some(since)) => {
            uses::unused_by_use(conn, tenant, since, stretch).map(Some)
        }
        (KeySort::Newest, Scope::Tenant(tenant), Some(since)) => {
            uses::unused_by_age(conn, tenant, since, stretch).map(Some)
        }
        _ => Ok(None),
    }
}

/// Builds the query. If the filter matches few keys, they are found by an index first.
fn found<'a>(conn: &mut PgConnection, asked: ListRequest<'a>, narrowed: Narrowed) -> Result<PlannedQuery<'a>> {
    let ListRequest { scope, filter, .. } = asked;
    let query = filtered(asked);
    let is_walked = matches!(narrowed, Narrowed::Many) && filter.is_of_marks();
    if let (Scope::Tenant(tenant), Some(since), true) = (scope, filter.unused_since, is_walked)
        && let Some(few) = uses::unused_if_few(conn, tenant, since, FEW_UNUSED)?
    {
        return Ok(PlannedQuery { query: query.filter(among(&few)), is_walked: false });
    }
    let query = match filter.unused_since {
        Some(since) => query.filter(unused(since)),
        None => query,
    };
    Ok(match narrowed {
        Narrowed::Few(rare) => PlannedQuery { query: query.filter(rare.condition()), is_walked: false },
        Narrowed::Many | Narrowed::Unknown => PlannedQuery { query, is_walked },
    })
}

/// Loads a page. The order of last use is left to the planner: only `key_uses` has an index for it.
fn in_order<T>(
    conn: &mut PgConnection,
    sort: KeySort,
    is_walked: bool,
    load: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
) -> Result<T> {
    if is_walked && sort != KeySort::LastUsed { by_order(conn, load) } else { Ok(load(conn)?) }
}

/// Adds the conditions that hold in every plan.
fn filtered(ListRequest { scope, filter, words, now, .. }: ListRequest<'_>) -> Query<'_> {
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
    if !words.is_empty() {
        query = query.filter(matching(scope, words));
    }
    marked(query, filter, now)
}

/// Adds the conditions on a key's own fields and on its expiry.
fn marked<'a>(mut query: Query<'a>, filter: &'a KeyFilter, now: DateTime<Utc>) -> Query<'a> {
    if let Some(owner) = &filter.owner {
        query = query.filter(api_keys::owner.eq(text::composed(owner)));
    }
    if !filter.scopes.is_empty() {
        query = query.filter(sql::<Bool>("api_keys.scopes && ").bind::<Array<Text>, _>(&filter.scopes));
    }
    if let Some(is_active) = filter.is_active {
        query = query.filter(api_keys::is_active.eq(is_active));
    }
    if let Some(tag) = &filter.tag {
        query = query.filter(sql::<Bool>("").bind::<Text, _>(text::composed(tag)).sql(" = ANY(api_keys.tags)"));
    }
    if let Some(until) = filter.expiring_until {
        query = query.filter(api_keys::revoked_at.is_null());
        query = query.filter(api_keys::expires_at.gt(now)).filter(api_keys::expires_at.le(until));
    }
    query
}

/// Condition for keys with one of these ids. The subquery hides their number from the planner: it underestimates a
/// tenant's keys, and would read all of them instead of looking up thousands of ids.
fn among(ids: &[ApiKeyId]) -> Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Bool>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    Box::new(sql::<Bool>("api_keys.id = ANY (ARRAY(SELECT unnest(").bind::<Array<BigInt>, _>(ids).sql(")))"))
}

/// Condition for keys that were neither created nor used since a time.
fn unused(since: DateTime<Utc>) -> Beyond {
    let uses = "EXISTS (SELECT FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id AND greatest(uses.created_at, uses.used_at) <= ";
    Box::new(sql::<Nullable<Bool>>(uses).bind::<Timestamptz, _>(since).sql(")"))
}

/// Adds the conditions of a state, as [`ApiKey::state`] defines it.
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

/// SQL of a key's last use. Keys never used have the epoch, which puts them at the end.
const USED_AT: &str = "(SELECT uses.used_at FROM key_uses AS uses WHERE uses.api_key_id = api_keys.id)";

/// Adds the order of a list.
fn sorted(query: Query<'_>, sort: KeySort, is_backwards: bool) -> Query<'_> {
    let order = match (sort, is_backwards) {
        (KeySort::Newest, false) => "api_keys.id DESC",
        (KeySort::Newest, true) => "api_keys.id",
        (KeySort::Name, false) => "lower(api_keys.name), api_keys.id",
        (KeySort::Name, true) => "lower(api_keys.name) DESC, api_keys.id DESC",
        (KeySort::LastUsed, false) => return query.order(sql::<Bool>(USED_AT).sql(" DESC, api_keys.id DESC")),
        (KeySort::LastUsed, true) => return query.order(sql::<Bool>(USED_AT).sql(", api_keys.id")),
        (KeySort::Expires, false) => "api_keys.expires_at, api_keys.id",
        (KeySort::Expires, true) => "api_keys.expires_at DESC, api_keys.id DESC",
    };
    query.order(sql::<Bool>(order))
}

type Beyond = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Nullable<Bool>>>;

/// Condition for rows after a place in the list, or before it.
fn beyond(mark: &KeyMark, is_before: bool) -> Beyond {
    let id = mark.id;
    match (&mark.place, is_before) {
        (SortValue::Newest, false) => Box::new(api_keys::id.lt(id).nullable()),
        (SortValue::Newest, true) => Box::new(api_keys::id.gt(id).nullable()),
        (SortValue::Name(name), _) => {
            let than = if is_before { ") < (lower(" } else { ") > (lower(" };
            let row = sql::<Nullable<Bool>>("(lower(api_keys.name), api_keys.id").sql(than);
            Box::new(row.bind::<Text, _>(name.clone()).sql("), ").bind::<BigInt, _>(id).sql(")"))
        }
        (SortValue::LastUsed(at), _) => {
            let than = if is_before { ", api_keys.id) > (coalesce(" } else { ", api_keys.id) < (coalesce(" };
            let row = sql::<Nullable<Bool>>("(").sql(USED_AT).sql(than).bind::<Nullable<Timestamptz>, _>(*at);
            Box::new(row.sql(", 'epoch'), ").bind::<BigInt, _>(id).sql(")"))
        }
        // Keys that never expire come last.
        (SortValue::Expires(Some(at)), false) => Box::new(
            api_keys::expires_at
                .gt(*at)
                .or(api_keys::expires_at.eq(*at).and(api_keys::id.gt(id)))
                .or(api_keys::expires_at.is_null().nullable()),
        ),
        (SortValue::Expires(None), false) => {
            Box::new(api_keys::expires_at.is_null().and(api_keys::id.gt(id)).nullable())
        }
        (SortValue::Expires(Some(at)), true) => {
            Box::new(api_keys::expires_at.lt(*at).or(api_keys::expires_at.eq(*at).and(api_keys::id.lt(id))))
        }
        (SortValue::Expires(None), true) => {
            Box::new(api_keys::expires_at.is_not_null().or(api_keys::id.lt(id)).nullable())
        }
    }
}

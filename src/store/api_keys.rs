//! Queries on `api_keys`. A deleted key is found by nothing here.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};

use super::Scope;
use crate::domain::api_key::{Environment, KeyChange, KeyState};
use crate::domain::digest::StoredDigest;
use crate::domain::page::Paging;
use crate::domain::{ApiKeyId, Result, TenantId, UserId};
use crate::model::{ApiKey, NewApiKey};
use crate::schema::{api_keys, memberships, tenants, users};

/// Words of a search that count.
const MOST_WORDS: usize = 10;

/// Which keys of a list are wanted.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Beginnings of words of a name, hint, public id, owner, tag or scope, in either case.
    pub text: Option<String>,
    pub state: Option<KeyState>,
    pub environment: Option<Environment>,
    pub user: Option<UserId>,
}

/// A key with what its verification depends on besides.
#[derive(Debug, Clone)]
pub struct GateRow {
    pub key: ApiKey,
    pub tenant_slug: String,
    pub is_tenant_active: bool,
    /// Whether the key's user exists, is active, and still belongs to the tenant.
    pub is_owner_active: bool,
}

pub fn insert(conn: &mut PgConnection, key: &NewApiKey) -> Result<ApiKey> {
    Ok(diesel::insert_into(api_keys::table).values(key).returning(ApiKey::as_returning()).get_result(conn)?)
}

pub fn find(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let found = ApiKey::query().filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::deleted_at.is_null()).find(id);
    Ok(found.first(conn).optional()?)
}

/// Like [`find`], and nobody else changes the row until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let found = ApiKey::query().filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::deleted_at.is_null()).find(id);
    Ok(found.for_update().first(conn).optional()?)
}

/// Whose key it is: for callers who are of no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: ApiKeyId) -> Result<Option<TenantId>> {
    let found = api_keys::table.find(id).filter(api_keys::deleted_at.is_null()).select(api_keys::tenant_id);
    Ok(found.first(conn).optional()?)
}

/// Those of these keys that are the tenant's, deleted ones too: what they were used for may be told late.
pub fn list_ids(
    conn: &mut PgConnection,
    tenant: TenantId,
    ids: &[ApiKeyId],
    publics: &[String],
) -> Result<Vec<(ApiKeyId, String)>> {
    let named = api_keys::id.eq_any(ids).or(api_keys::public_id.eq_any(publics));
    let found = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(named);
    Ok(found.select((api_keys::id, api_keys::public_id)).load(conn)?)
}

/// For the gate: by public id, in any tenant.
pub fn find_for_gate(conn: &mut PgConnection, public_id: &str) -> Result<Option<GateRow>> {
    let of_the_tenant = memberships::tenant_id.eq(api_keys::tenant_id);
    let of_the_user = memberships::user_id.nullable().eq(api_keys::user_id);
    let found = api_keys::table
        .inner_join(tenants::table)
        .left_join(users::table)
        .left_join(memberships::table.on(of_the_tenant.and(of_the_user)))
        .filter(api_keys::public_id.eq(public_id))
        .filter(api_keys::deleted_at.is_null())
        .select((
            ApiKey::as_select(),
            tenants::slug,
            tenants::is_active,
            (users::is_active, users::is_operator).nullable(),
            memberships::id.nullable(),
        ));
    type Row = (ApiKey, String, bool, Option<(bool, bool)>, Option<i64>);
    let row: Option<Row> = found.first(conn).optional()?;
    Ok(row.map(|(key, tenant_slug, is_tenant_active, user, membership)| GateRow {
        key,
        tenant_slug,
        is_tenant_active,
        is_owner_active: user
            .is_some_and(|(is_active, is_operator)| is_active && (is_operator || membership.is_some())),
    }))
}

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    paging: &Paging<ApiKeyId>,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let mut query = filtered(scope, filter, now).select(ApiKey::as_select()).limit(paging.size.plus_one());
    if let Some(before) = paging.before {
        query = query.filter(api_keys::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(api_keys::id.gt(after)).order(api_keys::id.asc()),
        None => query.order(api_keys::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

pub fn count(conn: &mut PgConnection, scope: Scope, filter: &KeyFilter, now: DateTime<Utc>) -> Result<i64> {
    Ok(filtered(scope, filter, now).count().get_result(conn)?)
}

fn filtered<'a>(scope: Scope, filter: &'a KeyFilter, now: DateTime<Utc>) -> api_keys::BoxedQuery<'a, Pg> {
    let mut query = api_keys::table.filter(api_keys::deleted_at.is_null()).into_boxed();
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
        query = query.filter(matching(scope, &words(text)));
    }
    match filter.state {
        Some(state) => in_state(query, state, now),
        None => query,
    }
}

/// The words of a search, as `key_words` in the database cuts them.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).take(MOST_WORDS).collect()
}

type Condition = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Bool>>;

/// Every one of the words begins a word of the key. A text without any finds nothing.
fn matching(scope: Scope, words: &[String]) -> Condition {
    match scope {
        _ if words.is_empty() => Box::new(sql::<Bool>("FALSE")),
        Scope::Tenant(tenant) => {
            // Letters and digits alone: nothing in them could end the quotes.
            let terms: Vec<_> = words.iter().map(|word| format!("'{tenant}:{word}':*")).collect();
            let found = sql::<Bool>("api_keys.id IN (SELECT id FROM tenant_key_words WHERE words @@ ")
                .bind::<Text, _>(terms.join(" & "))
                .sql("::tsquery)");
            Box::new(found)
        }
        Scope::Instance => {
            // Across tenants each word stands behind one that is not known: slower, for operators alone.
            let patterns: Vec<_> = words.iter().map(|word| format!("(^|[^[:alnum:]]){word}")).collect();
            let text = "lower(concat_ws(' ', api_keys.name, api_keys.hint, api_keys.public_id, api_keys.owner, \
                        array_to_string(api_keys.tags, ' '), array_to_string(api_keys.scopes, ' '))) ~ ALL(";
            Box::new(sql::<Bool>(text).bind::<Array<Text>, _>(patterns).sql(")"))
        }
    }
}

fn in_state(query: api_keys::BoxedQuery<'_, Pg>, state: KeyState, now: DateTime<Utc>) -> api_keys::BoxedQuery<'_, Pg> {
    let alive = || api_keys::revoked_at.is_null();
    let in_time = || api_keys::expires_at.is_null().nullable().or(api_keys::expires_at.gt(now));
    match state {
        KeyState::Active => query.filter(alive()).filter(in_time()).filter(api_keys::is_active),
        KeyState::Disabled => query.filter(alive()).filter(in_time()).filter(diesel::dsl::not(api_keys::is_active)),
        KeyState::Expired => query.filter(alive()).filter(api_keys::expires_at.le(now)),
        KeyState::Revoked => query.filter(api_keys::revoked_at.is_not_null()),
        KeyState::Rotating | KeyState::Deleted => query.filter(sql::<Bool>("FALSE")),
    }
}

#[derive(AsChangeset)]
#[diesel(table_name = api_keys)]
struct Changeset<'a> {
    name: Option<&'a str>,
    description: Option<Option<&'a str>>,
    scopes: Option<&'a [String]>,
    rate_limit: Option<i64>,
    rate_window_seconds: Option<i64>,
    allowed_ips: Option<&'a [String]>,
    owner: Option<Option<&'a str>>,
    requires_owner: Option<bool>,
    metadata: Option<&'a serde_json::Value>,
    tags: Option<&'a [String]>,
    is_active: Option<bool>,
    expires_at: Option<Option<DateTime<Utc>>>,
    updated_at: DateTime<Utc>,
}

pub fn update(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: ApiKeyId,
    change: &KeyChange,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>> {
    let set = Changeset {
        name: change.name.as_deref(),
        description: change.description.as_ref().map(Option::as_deref),
        scopes: change.scopes.as_deref(),
        rate_limit: change.rate_limit,
        rate_window_seconds: change.rate_window_seconds,
        allowed_ips: change.allowed_ips.as_deref(),
        owner: change.owner.as_ref().map(Option::as_deref),
        requires_owner: change.requires_owner,
        metadata: change.metadata.as_ref(),
        tags: change.tags.as_deref(),
        is_active: change.is_active,
        expires_at: change.expires_at,
        updated_at: now,
    };
    let changed = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .set((set, api_keys::version.eq(api_keys::version + 1)));
    Ok(changed.returning(ApiKey::as_returning()).get_result(conn).optional()?)
}

/// For good; a key that is revoked already keeps its time and reason.
pub fn revoke(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: ApiKeyId,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>> {
    let changed = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::revoked_at.is_null())
        .set((
            api_keys::revoked_at.eq(now),
            api_keys::revoked_reason.eq(reason),
            api_keys::updated_at.eq(now),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(changed.returning(ApiKey::as_returning()).get_result(conn).optional()?)
}

/// The row stays, for usage and audit that name it.
pub fn delete(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId, now: DateTime<Utc>) -> Result<bool> {
    let deleted = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .set((api_keys::deleted_at.eq(now), api_keys::updated_at.eq(now), api_keys::version.eq(api_keys::version + 1)));
    Ok(deleted.execute(conn)? != 0)
}

/// Replaces a digest by one of the same secret, unless somebody else was faster.
pub fn update_digest(conn: &mut PgConnection, id: ApiKeyId, old: &StoredDigest, new: &StoredDigest) -> Result<bool> {
    let changed =
        diesel::update(api_keys::table).filter(api_keys::id.eq(id)).filter(api_keys::digest.eq(&old.digest)).set((
            api_keys::hash_algorithm.eq(new.algorithm),
            api_keys::pepper_id.eq(&new.pepper_id),
            api_keys::digest.eq(&new.digest),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(changed.execute(conn)? != 0)
}

/// The last use of a key.
#[derive(Debug, Clone)]
pub struct Use {
    pub id: ApiKeyId,
    pub at: DateTime<Utc>,
    pub ip: Option<String>,
}

/// Moves `last_used_at` forward, never back.
pub fn update_last_used(conn: &mut PgConnection, uses: &[Use]) -> Result<()> {
    diesel::sql_query(
        "UPDATE api_keys SET last_used_at = used.at, last_used_ip = coalesce(used.ip, last_used_ip)
         FROM unnest($1, $2, $3) AS used (id, at, ip)
         WHERE api_keys.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)",
    )
    .bind::<Array<BigInt>, _>(uses.iter().map(|used| used.id.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(uses.iter().map(|used| used.at).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(uses.iter().map(|used| used.ip.as_deref()).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}

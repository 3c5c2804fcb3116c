//! Key search by the starts of words, and detection of filters that match few keys.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text};

use super::filter::KeyFilter;
use crate::domain::api_key::KeyState;
use crate::domain::text;
use crate::domain::{Result, TenantId};
use crate::schema::api_keys;
use crate::store::{self, Scope};

/// Maximum number of words of a search that are used.
const MOST_WORDS: usize = 10;

type Condition = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Bool>>;

/// Condition for keys in which each of these words starts a word.
pub fn matching(scope: Scope, words: &[String]) -> Condition {
    match scope {
        Scope::Tenant(tenant) => {
            let terms: Vec<_> = words.iter().map(|word| beginning(tenant, word)).collect();
            Box::new(sql::<Bool>("api_keys.words @@ ").bind::<Text, _>(terms.join(" & ")).sql("::tsquery"))
        }
        Scope::Instance => {
            // Across tenants the search term differs for each key. That is slower, but only operators use it.
            let text = "api_keys.words @@ key_query(api_keys.tenant_id, ";
            Box::new(sql::<Bool>(text).bind::<Array<Text>, _>(words.to_vec()).sql(")"))
        }
    }
}

/// Returns the words of a filter's text as the database folds them; none without a text.
pub fn words(conn: &mut PgConnection, filter: &KeyFilter) -> Result<Vec<String>> {
    let words = filter.text.as_deref().map(|text| store::search::words(conn, text)).transpose()?;
    Ok(words.unwrap_or_default().into_iter().take(MOST_WORDS).collect())
}

/// Returns a search term for words of `key_words` in the database that start like this.
fn beginning(tenant: TenantId, word: &str) -> String {
    format!("{}:*", term(tenant, word))
}

/// Returns a search term for an exact entry of `key_terms` in the database.
fn term(tenant: TenantId, term: &str) -> String {
    format!("'{tenant}:{}'", term.replace('\\', "\\\\").replace('\'', "''"))
}

/// Conditions of a filter that indexes can answer. All of them must hold.
#[derive(Clone, Default)]
struct Narrow {
    words: Vec<String>,
    terms: Vec<String>,
}

impl Narrow {
    /// Joins all conditions into one search term.
    fn all(&self) -> String {
        let all: Vec<_> = self.words.iter().chain(&self.terms).map(String::as_str).collect();
        all.join(" & ")
    }
}

/// SQL that finds the rarest of several search terms. Binds the tenant and the terms, and returns the index of the
/// term that the fewest of 500 sampled keys match. Of equally rare terms it takes the first.
///
/// The sample takes five keys at each of a hundred places. It returns no row if every term matches 2 % of the keys or
/// more: then a page is full before many keys have been read. The places are spread by the golden ratio, so a property
/// that repeats every thousand keys is neither always hit nor always missed. They are computed first (`MATERIALIZED`),
/// because under row-level security an index takes a plain value but no expression.
const SAMPLE: &str = "WITH span AS (
     SELECT (SELECT min(id) FROM api_keys WHERE tenant_id = $1 AND deleted_at IS NULL) AS first,
         (SELECT max(id) FROM api_keys WHERE tenant_id = $1 AND deleted_at IS NULL) AS last
 ), edges AS MATERIALIZED (
     SELECT first + ((last - first) * (n * 0.6180339887 % 1))::bigint AS edge FROM span CROSS JOIN generate_series(0, 99) n
 ), sample AS (
     SELECT k.* FROM edges CROSS JOIN LATERAL (
         SELECT words || key_terms(tenant_id, environment, is_active, revoked_at, tags, scopes) AS terms
         FROM api_keys WHERE tenant_id = $1 AND deleted_at IS NULL AND id <= edge
         ORDER BY id DESC LIMIT 5) k
 )
 SELECT place - 1 AS place FROM unnest($2) WITH ORDINALITY asked (query, place)
 CROSS JOIN LATERAL (SELECT count(*) AS hits FROM sample WHERE terms @@ query::tsquery) found
 WHERE hits < 10 ORDER BY hits, place LIMIT 1";

/// Search terms that match few keys: one for the index on words, one for the index on terms. Either may be empty. Each
/// column has its own index, and Postgres intersects both results before it reads a row. The lookup stands in a
/// subquery of its own: merged into the query of a list it would be tested on one key after another.
pub struct Rare {
    /// Search term for the column `words`.
    pub words: String,
    /// Search term for the column `terms`.
    pub terms: String,
}

impl Rare {
    /// Condition for these keys in a query on `api_keys`.
    pub fn condition(&self) -> Condition {
        let (words, terms) = (self.words.clone(), self.terms.clone());
        let found = sql::<Bool>("api_keys.id = ANY (ARRAY(SELECT id FROM tenant_key_words WHERE ");
        match (words.is_empty(), terms.is_empty()) {
            (false, true) => Box::new(found.sql("words @@ ").bind::<Text, _>(words).sql("::tsquery))")),
            (true, _) => Box::new(found.sql("terms @@ ").bind::<Text, _>(terms).sql("::tsquery))")),
            (false, false) => {
                let both = found.sql("words @@ ").bind::<Text, _>(words).sql("::tsquery AND terms @@ ");
                Box::new(both.bind::<Text, _>(terms).sql("::tsquery))"))
            }
        }
    }

    /// Condition for these keys in a query on `key_uses`, as SQL with both terms at the given parameters.
    pub fn of_uses(&self, words: &str, terms: &str) -> String {
        let asked = [("words", words, &self.words), ("terms", terms, &self.terms)];
        let asked = asked.into_iter().filter(|(_, _, query)| !query.is_empty());
        let all: Vec<_> = asked.map(|(column, place, _)| format!("{column} @@ {place}::tsquery")).collect();
        format!("api_key_id = ANY (ARRAY(SELECT id FROM tenant_key_words WHERE {}))", all.join(" AND "))
    }
}

/// Estimate of how many keys match a filter's words and terms.
pub enum Narrowed {
    /// Few keys match: they are best found by an index.
    Few(Rare),
    /// So many match that a page is full before many keys have been read in the order of the list.
    Many,
    /// No estimate.
    Unknown,
}

/// Estimates how many of the tenant's keys match the filter, and returns the rarest condition if it matches few. The
/// planner can't know this: it has no statistics for starts of words, and row-level security hides the others from it.
pub fn narrowed(conn: &mut PgConnection, scope: Scope, filter: &KeyFilter, words: &[String]) -> Result<Narrowed> {
    #[derive(QueryableByName)]
    struct Rarest {
        #[diesel(sql_type = BigInt)]
        place: i64,
    }
    let Scope::Tenant(tenant) = scope else {
        return Ok(if filter.text.is_some() { Narrowed::Many } else { Narrowed::Unknown });
    };
    let mut asked = conditions(tenant, filter, words);
    if filter.state == Some(KeyState::Deleted) {
        return Ok(Narrowed::Unknown);
    }
    if asked.is_empty() {
        return Ok(Narrowed::Many);
    }
    let queries: Vec<_> = asked.iter().map(Narrow::all).collect();
    let rarest = diesel::sql_query(SAMPLE).bind::<BigInt, _>(tenant.0).bind::<Array<Text>, _>(queries);
    let Some(Rarest { place }) = by_order(conn, |conn| rarest.get_result(conn).optional())? else {
        return Ok(Narrowed::Many);
    };
    let Narrow { words, terms } = asked.swap_remove(usize::try_from(place).unwrap_or_default());
    Ok(Narrowed::Few(Rare { words: words.join(" & "), terms: terms.join(" & ") }))
}

/// Runs a query so that Postgres walks an index in the order of the list. Left alone, the planner underestimates the
/// tenant's keys and the matches, and would collect and sort all of them.
pub fn by_order<T>(conn: &mut PgConnection, query: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> Result<T> {
    diesel::sql_query("SET LOCAL enable_sort = off").execute(conn)?;
    let found = query(conn)?;
    diesel::sql_query("SET LOCAL enable_sort = on").execute(conn)?;
    Ok(found)
}

/// Returns each condition of the filter by itself, and all of them together if they are several.
fn conditions(tenant: TenantId, filter: &KeyFilter, words: &[String]) -> Vec<Narrow> {
    let words: Vec<_> = words.iter().map(|word| beginning(tenant, word)).collect();
    let mut terms = Vec::new();
    terms.extend(filter.environment.map(|environment| term(tenant, &format!("environment={environment}"))));
    terms.extend(filter.tag.as_deref().map(|tag| term(tenant, &format!("tag={}", text::composed(tag)))));
    terms.extend(match filter.state {
        Some(KeyState::Revoked) => Some(term(tenant, "revoked=true")),
        Some(KeyState::Disabled) => Some(term(tenant, "active=false")),
        _ => None,
    });
    if !filter.scopes.is_empty() {
        let any: Vec<_> = filter.scopes.iter().map(|scope| term(tenant, &format!("scope={scope}"))).collect();
        terms.push(format!("({})", any.join(" | ")));
    }
    let by_word = words.iter().map(|word| Narrow { words: vec![word.clone()], ..Narrow::default() });
    let by_term = terms.iter().map(|term| Narrow { terms: vec![term.clone()], ..Narrow::default() });
    let mut all: Vec<_> = by_word.chain(by_term).collect();
    if 1 < all.len() {
        all.push(Narrow { words, terms });
    }
    all
}

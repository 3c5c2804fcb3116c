//! Searching keys by the beginnings of words, and finding those that a filter leaves few of.

use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Text};

use super::filter::KeyFilter;
use crate::domain::api_key::KeyState;
use crate::domain::{Result, TenantId};
use crate::schema::api_keys;
use crate::store::{self, Scope};

/// Words of a search that count.
const MOST_WORDS: usize = 10;

type Condition = Box<dyn BoxableExpression<api_keys::table, Pg, SqlType = Bool>>;

/// Each of the words begins a word of the key.
pub fn matching(scope: Scope, words: &[String]) -> Condition {
    match scope {
        Scope::Tenant(tenant) => {
            let terms: Vec<_> = words.iter().map(|word| beginning(tenant, word)).collect();
            Box::new(sql::<Bool>("api_keys.words @@ ").bind::<Text, _>(terms.join(" & ")).sql("::tsquery"))
        }
        Scope::Instance => {
            // Across tenants the query differs for each key: slower, for operators alone.
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

/// A word of `key_words` in the database that begins like this.
fn beginning(tenant: TenantId, word: &str) -> String {
    format!("{}:*", term(tenant, word))
}

/// A term of `key_terms` in the database.
fn term(tenant: TenantId, term: &str) -> String {
    format!("'{tenant}:{}'", term.replace('\\', "\\\\").replace('\'', "''"))
}

/// Conditions of a filter that indexes answer: all of them must hold.
#[derive(Clone, Default)]
struct Narrow {
    words: Vec<String>,
    terms: Vec<String>,
}

impl Narrow {
    fn all(&self) -> String {
        let all: Vec<_> = self.words.iter().chain(&self.terms).map(String::as_str).collect();
        all.join(" & ")
    }
}

/// Tenant, queries: the place of the one that the fewest of 500 keys meet, five at a time at a hundred places; the first of
/// those that are as rare. None where each is met by 2 of 100 or more: then a page is full before many keys have been read.
/// The places lie apart by the golden ratio, so that what comes back every thousand keys is neither always met nor never. They
/// are worked out first: under row-level security an index takes a value that is there, and no sum of them.
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

/// What few keys meet: words and terms for the indexes on them, either of which may be empty. Each column is looked up by its
/// own index, and what both find is compared before a row is read. Asked by itself and as a whole: merged with a list it would
/// be tried on one key after the other.
pub struct Rare {
    pub words: String,
    pub terms: String,
}

impl Rare {
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

    /// The same of rows of `key_uses`, as SQL with these two at these places.
    pub fn of_uses(&self, words: &str, terms: &str) -> String {
        let asked = [("words", words, &self.words), ("terms", terms, &self.terms)];
        let asked = asked.into_iter().filter(|(_, _, query)| !query.is_empty());
        let all: Vec<_> = asked.map(|(column, place, _)| format!("{column} @@ {place}::tsquery")).collect();
        format!("api_key_id = ANY (ARRAY(SELECT id FROM tenant_key_words WHERE {}))", all.join(" AND "))
    }
}

/// How many keys meet what a filter asks of their words and marks.
pub enum Narrowed {
    Few(Rare),
    /// So many that a page is full before many keys have been read, in the order of the list.
    Many,
    Unknown,
}

/// Where a condition of the filter leaves few of the tenant's keys, or all of them together do, those that meet it, found by
/// an index. The planner can't know: for beginnings of words it has no statistics, and row-level security keeps the others
/// from it.
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

/// Runs a query by an index of its order. The planner takes a tenant's keys for few, and what is asked of them for rare: it
/// would gather them all and sort them.
pub fn by_order<T>(conn: &mut PgConnection, query: impl FnOnce(&mut PgConnection) -> QueryResult<T>) -> Result<T> {
    diesel::sql_query("SET LOCAL enable_sort = off").execute(conn)?;
    let found = query(conn)?;
    diesel::sql_query("SET LOCAL enable_sort = on").execute(conn)?;
    Ok(found)
}

/// Each condition, and all of them together where they are several.
fn conditions(tenant: TenantId, filter: &KeyFilter, words: &[String]) -> Vec<Narrow> {
    let words: Vec<_> = words.iter().map(|word| beginning(tenant, word)).collect();
    let mut terms = Vec::new();
    terms.extend(filter.environment.map(|environment| term(tenant, &format!("environment={environment}"))));
    terms.extend(filter.tag.as_deref().map(|tag| term(tenant, &format!("tag={tag}"))));
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

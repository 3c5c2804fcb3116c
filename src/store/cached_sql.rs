//! Hand-written SQL whose plan each connection caches: statements that run for every delivery are not planned each
//! time.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};
use diesel::{QueryResult, RunQueryDsl};

/// A statement with the values of its `$1`, `$2` …
pub struct CachedSql<'a> {
    sql: &'static str,
    binds: Vec<Box<dyn QueryFragment<Pg> + Send + 'a>>,
}

/// Creates a statement like `diesel::sql_query`. Each distinct text is prepared and cached once per connection, so the
/// text must be constant. It may contain `$` only before the number of a value, in its comments as well.
pub fn cached_sql<'a>(sql: &'static str) -> CachedSql<'a> {
    CachedSql { sql, binds: Vec::new() }
}

impl<'a> CachedSql<'a> {
    /// Binds the value of the next parameter.
    #[must_use]
    pub fn bind<ST, T>(mut self, value: T) -> Self
    where
        ST: Send + 'a,
        T: ToSql<ST, Pg> + Send + 'a,
        Pg: HasSqlType<ST>,
    {
        self.binds.push(Box::new(Bind { value, kind: std::marker::PhantomData::<ST> }));
        self
    }
}

struct Bind<ST, T> {
    value: T,
    kind: std::marker::PhantomData<ST>,
}

impl<ST, T> QueryFragment<Pg> for Bind<ST, T>
where
    T: ToSql<ST, Pg>,
    Pg: HasSqlType<ST>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_bind_param::<ST, T>(&self.value)
    }
}

impl QueryFragment<Pg> for CachedSql<'_> {
    /// Writes the SQL. A parameter that is used in several places is bound once for each.
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut parts = self.sql.split('$');
        out.push_sql(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.chars().take_while(char::is_ascii_digit).count();
            let (number, rest) = part.split_at(digits);
            let bind = number.parse::<usize>().ok().and_then(|number| self.binds.get(number.checked_sub(1)?));
            let bind =
                bind.ok_or_else(|| diesel::result::Error::QueryBuilderError(format!("${number} is not bound").into()))?;
            bind.walk_ast(out.reborrow())?;
            out.push_sql(rest);
        }
        Ok(())
    }
}

impl QueryId for CachedSql<'_> {
    type QueryId = ();
    // The cache of prepared statements uses the text as key.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for CachedSql<'_> {
    type SqlType = Untyped;
}

impl<Conn> RunQueryDsl<Conn> for CachedSql<'_> {}

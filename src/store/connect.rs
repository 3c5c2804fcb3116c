//! Opening of connections, with timeouts if the URL names none, and with server messages in English.

use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::{Connection, ConnectionResult, QueryResult};

/// Parameters of libpq that detect a dead connection. `tcp_user_timeout` is in milliseconds, the others are in
/// seconds.
const TIMEOUTS: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "15"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "15000"),
];

/// Puts the schema that holds Gatepost's tables first in the session's search path. A first migration uses the current
/// schema. A path with `"$user"` would mean another schema after `SET ROLE`, and a schema that is created later could
/// hide the tables.
const SCHEMA: &str = "SELECT set_config('search_path', quote_ident(coalesce((
        SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid = to_regclass('__diesel_schema_migrations')), current_schema()))
        || ', ' || current_setting('search_path'), FALSE)
    WHERE current_schema() IS NOT NULL; SET standard_conforming_strings = on; SET row_security = on";

/// Switches the server's messages to English, which `store::error` reads. A user without the right to change the
/// language keeps theirs: `store::migrations` warns about a database where that matters.
const ENGLISH: &str = "DO $$ BEGIN SET lc_messages = 'C'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$";

/// Opens a connection outside every pool.
pub fn establish(url: &str) -> ConnectionResult<PgConnection> {
    let mut conn = PgConnection::establish(&with_timeouts(url))?;
    prepare(&mut conn).map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(conn)
}

/// Prepares a new connection: sets the language and search path that every statement relies on.
pub fn prepare(conn: &mut PgConnection) -> QueryResult<()> {
    conn.batch_execute(ENGLISH)?;
    conn.batch_execute(SCHEMA)
}

/// Returns the connection string with `TIMEOUTS` before its own parameters. If one is given twice, libpq takes the
/// last.
pub fn with_timeouts(url: &str) -> String {
    let joined = |between: &str| TIMEOUTS.map(|(name, value)| format!("{name}={value}")).join(between);
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    if !is_url {
        return format!("{} {url}", joined(" "));
    }
    let (place, own) = url.split_at(query_of(url));
    match own.strip_prefix('?') {
        Some(own) if !own.is_empty() => format!("{place}?{}&{own}", joined("&")),
        _ => format!("{place}?{}", joined("&")),
    }
}

/// Returns the position of a URL's query as libpq finds it: a password may contain a question mark.
fn query_of(url: &str) -> usize {
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    let rest = url.get(authority..).unwrap_or_default();
    let credentials = match rest.find(['@', '/']) {
        Some(at) if rest.get(at..).is_some_and(|rest| rest.starts_with('@')) => at,
        _ => 0,
    };
    let start = authority + credentials;
    url.get(start..).and_then(|rest| rest.find('?')).map_or(url.len(), |at| start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str =
        "connect_timeout=5&keepalives_idle=15&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=15000";

    #[test]
    fn a_url_gets_the_timeouts_before_its_own_parameters() {
        for (url, with) in [
            ("postgres://db/x", format!("postgres://db/x?{OURS}")),
            ("postgresql://db", format!("postgresql://db?{OURS}")),
            ("postgres://db/x?", format!("postgres://db/x?{OURS}")),
            ("postgres:///x?host=/run", format!("postgres:///x?{OURS}&host=/run")),
            ("postgres://a@b:1,c:2/x?connect_timeout=60", format!("postgres://a@b:1,c:2/x?{OURS}&connect_timeout=60")),
            ("postgres://a:b?c@db/x?sslmode=disable", format!("postgres://a:b?c@db/x?{OURS}&sslmode=disable")),
            ("postgres://db/x?application_name=a@b", format!("postgres://db/x?{OURS}&application_name=a@b")),
        ] {
            assert_eq!(with_timeouts(url), with);
        }
    }

    #[test]
    fn a_string_of_pairs_gets_the_timeouts_before_its_own() {
        let with = with_timeouts("host=db password='a ? b' connect_timeout=60");
        assert!(with.starts_with("connect_timeout=5 keepalives_idle=15 "), "{with}");
        assert!(with.ends_with(" host=db password='a ? b' connect_timeout=60"), "{with}");
    }
}

//! Private database of a test, cloned from a template that is migrated once.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_migrations::{FileBasedMigrations, MigrationHarness};
use sha2::{Digest, Sha256};
use url::Url;

/// Returns the address of the test cluster, which `make test` sets.
fn cluster() -> Url {
    let url = std::env::var("GATEPOST_TEST_DATABASE_URL");
    let url = url.expect("GATEPOST_TEST_DATABASE_URL is not set: run `make test`, which starts a Postgres of its own");
    Url::parse(&url).expect("GATEPOST_TEST_DATABASE_URL is a URL")
}

fn url_of(database: &str) -> String {
    let mut url = cluster();
    url.set_path(database);
    url.to_string()
}

pub struct Database {
    /// `None` if the database belongs to another cluster and ends with it.
    name: Option<String>,
    pub url: String,
}

impl Database {
    pub fn clone_template() -> Self {
        let mut conn = PgConnection::establish(&url_of("postgres")).expect("the test cluster answers");
        let template = template(&mut conn);
        let name = unique("test");
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy");
        diesel::sql_query(sql).execute(&mut conn).expect("the template can be cloned");
        Self { url: url_of(&name), name: Some(name) }
    }

    /// Creates a database without tables.
    pub fn empty() -> Self {
        let mut conn = PgConnection::establish(&url_of("postgres")).expect("the test cluster answers");
        let name = unique("empty");
        diesel::sql_query(format!("CREATE DATABASE {name}")).execute(&mut conn).expect("a database can be made");
        Self { url: url_of(&name), name: Some(name) }
    }

    /// Uses a database of another cluster, which is dropped with that cluster.
    pub fn elsewhere(url: impl Into<String>) -> Self {
        Self { name: None, url: url.into() }
    }

    fn name(&self) -> &str {
        self.name.as_deref().expect("the database belongs to the test cluster")
    }

    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&self.url).expect("the test database answers")
    }

    /// Makes the database unreachable: ends every connection, and refuses new ones.
    pub fn cut(&self) {
        let mut conn = PgConnection::establish(&url_of("postgres")).expect("the test cluster answers");
        let name = self.name();
        diesel::sql_query(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).execute(&mut conn).unwrap();
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        diesel::sql_query(sql).execute(&mut conn).unwrap();
    }

    /// Makes the database reachable again.
    pub fn mend(&self) {
        let mut conn = PgConnection::establish(&url_of("postgres")).expect("the test cluster answers");
        diesel::sql_query(format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name())).execute(&mut conn).unwrap();
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let dropped =
            PgConnection::establish(&url_of("postgres")).map_err(|error| error.to_string()).and_then(|mut conn| {
                let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name);
                diesel::sql_query(sql).execute(&mut conn).map_err(|error| error.to_string())
            });
        if let Err(error) = dropped {
            eprintln!("{name} stays behind: {error}");
        }
    }
}

fn unique(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// Returns a digest of the migrations. Each set of migrations has its own template.
fn fingerprint() -> String {
    let mut folders: Vec<_> = std::fs::read_dir(MIGRATIONS).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut digest = Sha256::new();
    for folder in folders.iter().filter(|path| path.is_dir()) {
        digest.update(std::fs::read(folder.join("up.sql")).unwrap());
    }
    hex::encode(digest.finalize())[..12].to_owned()
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = BigInt)]
    found: i64,
}

/// Returns the number of rows of these tables that this connection has read lately. For a new connection, these are all
/// rows that it has read.
pub fn rows_read(conn: &mut PgConnection, tables: &[&str]) -> i64 {
    let query = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint AS found FROM pg_stat_xact_user_tables
        WHERE relname = ANY ($1)";
    diesel::sql_query(query).bind::<Array<Text>, _>(tables).get_result::<Found>(conn).unwrap().found
}

/// Creates the template once per cluster and set of migrations. Concurrent test processes wait for the first one.
fn template(conn: &mut PgConnection) -> String {
    let name = format!("template_{}", fingerprint());
    diesel::sql_query("SELECT pg_advisory_lock(4242)").execute(conn).unwrap();
    let found: Found = diesel::sql_query("SELECT count(*) AS found FROM pg_database WHERE datname = $1")
        .bind::<Text, _>(&name)
        .get_result(conn)
        .unwrap();
    if found.found == 0 {
        let raw = format!("{name}_raw");
        diesel::sql_query(format!("DROP DATABASE IF EXISTS {raw}")).execute(conn).unwrap();
        diesel::sql_query(format!("CREATE DATABASE {raw}")).execute(conn).unwrap();
        let mut fresh = PgConnection::establish(&url_of(&raw)).unwrap();
        fresh.run_pending_migrations(FileBasedMigrations::from_path(MIGRATIONS).unwrap()).expect("the migrations run");
        drop(fresh);
        // Rename only now, since other processes look for this name.
        diesel::sql_query(format!("ALTER DATABASE {raw} RENAME TO {name}")).execute(conn).unwrap();
    }
    diesel::sql_query("SELECT pg_advisory_unlock(4242)").execute(conn).unwrap();
    name
}

//! Database of this process: the one in `DATABASE_URL`, or a private Postgres.

use diesel::pg::PgConnection;

use super::Failure;
use crate::config::{Settings, no_instance};
use crate::store::embedded::{self, Embedded};
use crate::store::migrations::{self, Report};
use crate::store::{fitness::Unfit, pooler};

/// Open database. A private Postgres stops with its last user.
pub struct Database {
    url: String,
    words: String,
    /// Private Postgres, if one is used. It stops with its last user.
    embedded: Option<Embedded>,
    pub report: Report,
}

impl Database {
    /// Starts the private Postgres if needed, and runs migrations.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        Self::open_and(settings, |_| ())
    }

    /// Opens the database for a long-running process, which also supervises the private Postgres.
    pub fn open_for_serving(settings: &Settings) -> Result<Self, Failure> {
        let database = Self::open_and(settings, Embedded::supervise)?;
        for danger in &database.report.dangers {
            tracing::warn!("DANGER: {danger}");
        }
        Ok(database)
    }

    /// Opens an existing instance with one connection. Creates nothing and runs no migrations.
    pub fn open_existing(settings: &Settings) -> Result<(Self, PgConnection), Failure> {
        if settings.database_url.is_none() && !embedded::is_made(&settings.data_dir)? {
            return Err(no_instance(&settings.data_dir).into());
        }
        Self::reach(settings, migrations::must_be_current)
    }

    fn open_and(settings: &Settings, also: impl FnOnce(&Embedded)) -> Result<Self, Failure> {
        let (database, _) = Self::reach(settings, migrations::run)?;
        database.embedded.as_ref().map(also);
        Ok(database)
    }

    fn reach(
        settings: &Settings,
        prepare: impl FnOnce(&mut PgConnection) -> Result<Report, Unfit>,
    ) -> Result<(Self, PgConnection), Failure> {
        let (url, embedded) = match &settings.database_url {
            Some(url) => {
                pooler::check(url.as_str())?;
                (url.as_str().to_owned(), None)
            }
            None => {
                let embedded = Embedded::start(&settings.data_dir, settings.pg_bin.as_deref())?;
                (embedded.url(), Some(embedded))
            }
        };
        let mut conn = migrations::connect(&url)?;
        let report = prepare(&mut conn)?;
        let version = &report.version;
        let words = match embedded.as_ref().map(|embedded| embedded.folder().display()) {
            Some(folder) => format!("private PostgreSQL {version} in {folder} (set DATABASE_URL to use another)"),
            None => format!("PostgreSQL {version} at DATABASE_URL"),
        };
        Ok((Self { url, words, embedded, report }, conn))
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns one line about the database in use.
    pub fn describe(&self) -> String {
        self.words.clone()
    }
}

//! Database access of commands: one connection, and the actor that they use.

use diesel::pg::PgConnection;

use crate::app::Failure;
use crate::app::database::Database;
use crate::config::Settings;
use crate::domain::actor::Authority;
use crate::domain::digest::Hasher;
use crate::domain::scope::ScopeSet;
use crate::domain::{Actor, Clock, Result, Role, TenantId, Via};
use crate::services::instance;
use crate::services::tenants::{self, TenantRef};
use crate::store::Tx;

/// Open, migrated database. A private Postgres runs at least as long as this value lives.
pub struct Console {
    pub hasher: Hasher,
    pub clock: Clock,
    conn: PgConnection,
    database: Database,
}

impl Console {
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let (database, mut conn) = Database::open_existing(settings)?;
        let vault = settings.vault();
        let clock = Clock::default();
        Tx::run(&mut conn, clock.now(), |tx| instance::recognize(tx, &settings.peppers, &vault))?;
        let hasher = Hasher::new(settings.peppers.clone(), settings.key_hash);
        Ok(Self { hasher, clock, conn, database })
    }

    pub fn url(&self) -> &str {
        self.database.url()
    }

    /// Runs `work` in a transaction on the whole instance. The person at the console acts as its operator.
    pub fn tx<T>(&mut self, work: impl FnOnce(&mut Tx<'_>, &Hasher) -> Result<T>) -> Result<T, Failure> {
        let hasher = &self.hasher;
        Ok(Tx::run(&mut self.conn, self.clock.now(), |tx| work(tx, hasher))?)
    }

    /// Runs `work` like [`Console::tx`], but read-only, on a snapshot.
    pub fn read<T>(&mut self, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T, Failure> {
        Ok(Tx::read(&mut self.conn, self.clock.now(), work)?)
    }
}

/// Returns the console as an actor in a tenant, with the rights of an owner.
pub fn actor_in(conn: &mut PgConnection, slug: &str) -> Result<Actor> {
    let tenant = tenants::find(conn, &TenantRef::Slug(slug.to_owned()))?;
    Ok(console(tenant.id))
}

/// Returns the console as an actor in a known tenant.
pub fn console(tenant: TenantId) -> Actor {
    Actor {
        tenant,
        user: None,
        is_operator: true,
        authority: Authority::Person { role: Role::Owner, scopes: ScopeSet::all() },
        via: Via::Cli,
        label: "console".to_owned(),
        ip: None,
        request_id: None,
    }
}

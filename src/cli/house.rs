//! What commands that act on the database need of it: one connection, and who they act as.

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

/// An open, migrated database. The private one runs for as long as this lives, at least.
pub struct House {
    pub hasher: Hasher,
    pub clock: Clock,
    conn: PgConnection,
    database: Database,
}

impl House {
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

    /// Runs `work` in a transaction of the whole instance: whoever sits at the console is its operator.
    pub fn tx<T>(&mut self, work: impl FnOnce(&mut Tx<'_>, &Hasher) -> Result<T>) -> Result<T, Failure> {
        let hasher = &self.hasher;
        Ok(Tx::run(&mut self.conn, self.clock.now(), |tx| work(tx, hasher))?)
    }

    /// Like [`House::tx`], but nothing can be written, and what is read is of one moment.
    pub fn read<T>(&mut self, work: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T, Failure> {
        Ok(Tx::read(&mut self.conn, self.clock.now(), work)?)
    }
}

/// The console in a tenant: an operator acts as its owner.
pub fn actor_in(conn: &mut PgConnection, slug: &str) -> Result<Actor> {
    let tenant = tenants::find(conn, &TenantRef::Slug(slug.to_owned()))?;
    Ok(console(tenant.id))
}

/// The console in a tenant that is known already.
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

//! What commands that act on the database need of it: one connection, and who they act as.

use diesel::Connection;
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
        conn.transaction(|conn| instance::recognize(conn, &settings.peppers, &vault))?;
        let hasher = Hasher::new(settings.peppers.clone(), settings.key_hash);
        Ok(Self { hasher, clock: Clock::default(), conn, database })
    }

    pub fn url(&self) -> &str {
        self.database.url()
    }

    /// Runs `work` in a transaction of the whole instance: whoever sits at the console is its operator.
    pub fn tx<T>(&mut self, work: impl FnOnce(&mut PgConnection, &Hasher) -> Result<T>) -> Result<T, Failure> {
        let hasher = &self.hasher;
        Ok(self.conn.transaction(|conn| work(conn, hasher))?)
    }

    /// Like [`House::tx`], but nothing can be written, and what is read is of one moment.
    pub fn read<T>(&mut self, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T, Failure> {
        Ok(self.conn.build_transaction().read_only().repeatable_read().run(work)?)
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

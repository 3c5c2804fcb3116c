//! Real server on a free port, with a private database and an adjustable clock.

use std::sync::OnceLock;

use argon2::password_hash::PasswordHasher;
use argon2::{Algorithm, Argon2, Params, Version};
use chrono::TimeDelta;
use diesel::prelude::*;
use gatepost::app::{App, Running};
use gatepost::domain::access_token::{NewToken, TokenDraft};
use gatepost::domain::{Clock, Role, TenantId, UserId};
use gatepost::services::Operator;
use gatepost::services::access_tokens;
use gatepost::services::accounts::{self, NewUser};
use gatepost::services::tenants::{self, NewTenant};
use gatepost::store::Tx;

use super::Person;
use super::database::Database;
use super::people::PASSWORD;
use super::settings;

pub struct TestApp {
    pub base: String,
    pub clock: Clock,
    /// Tenant `acme`, which exists from the start.
    pub tenant: TenantId,
    pub running: Option<Running>,
    pub database: Database,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with these settings in addition to the usual ones, named as environment variables.
    pub async fn start_with(extra: &[(&str, &str)]) -> Self {
        let mut app = Self::start_bare(extra).await;
        app.tenant = app.make_tenant("acme");
        app
    }

    /// Starts on a database of another cluster.
    pub async fn start_at(url: &str, extra: &[(&str, &str)]) -> Self {
        let mut app = Self::start_on(Database::elsewhere(url), extra).await;
        app.tenant = app.make_tenant("acme");
        app
    }

    /// Starts without any tenant or user, like a first start.
    pub async fn start_bare(extra: &[(&str, &str)]) -> Self {
        Self::start_on(Database::clone_template(), extra).await
    }

    /// Starts without any tenant or user, on a database that the start migrates.
    pub async fn start_on(database: Database, extra: &[(&str, &str)]) -> Self {
        let clock = Clock::default();
        let settings = settings::for_test(&database.url, extra);
        let running = App::start(settings, clock.clone()).await.expect("the server starts");
        let base = format!("http://{}", running.addr);
        Self { base, clock, tenant: TenantId(0), running: Some(running), database }
    }

    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the server has not been stopped")
    }

    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    pub fn conn(&self) -> PgConnection {
        self.database.connect()
    }

    /// Runs `work` in its own transaction, as another process would.
    pub fn tx<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> gatepost::domain::Result<T>) -> gatepost::domain::Result<T> {
        Tx::run(&mut self.conn(), self.clock.now(), work)
    }

    pub fn make_tenant(&self, slug: &str) -> TenantId {
        let ask = NewTenant::parse(slug, Some(slug), Some("unlimited")).unwrap();
        self.tx(|tx| tenants::create(tx, &Operator::at_the_console(), &ask)).unwrap().id
    }

    /// Creates a user without a tenant. The password is [`PASSWORD`].
    pub fn make_user(&self, name: &str, is_operator: bool) -> UserId {
        let ask = NewUser {
            is_email_confirmed: true,
            email: email(name),
            name: name.to_owned(),
            password_hash: password_hash().to_owned(),
            is_operator,
        };
        self.tx(|tx| accounts::create(tx, &Operator::at_the_console(), &ask)).unwrap().id
    }

    pub fn make_member(&self, tenant: TenantId, user: UserId, role: Role) {
        self.tx(|tx| tenants::add_member(tx, &Operator::at_the_console(), tenant, user, role)).unwrap();
    }

    pub fn stranger(&self) -> Person {
        Person::stranger(&self.base)
    }

    pub async fn owner(&self, name: &str) -> Person {
        self.person(name, self.tenant, Role::Owner).await
    }

    pub async fn admin(&self, name: &str) -> Person {
        self.person(name, self.tenant, Role::Admin).await
    }

    pub async fn developer(&self, name: &str) -> Person {
        self.person(name, self.tenant, Role::Developer).await
    }

    pub async fn viewer(&self, name: &str) -> Person {
        self.person(name, self.tenant, Role::Viewer).await
    }

    /// Creates an operator who is in no tenant, and signs them in.
    pub async fn operator(&self, name: &str) -> Person {
        let user = self.make_user(name, true);
        self.sign_in(name, user).await
    }

    /// Creates a member with this role, and signs them in.
    pub async fn person(&self, name: &str, tenant: TenantId, role: Role) -> Person {
        let user = self.make_user(name, false);
        self.make_member(tenant, user, role);
        self.sign_in(name, user).await
    }

    pub async fn sign_in(&self, name: &str, user: UserId) -> Person {
        let mut person = self.stranger();
        person.email = email(name);
        person.user_id = user.0;
        let answer = person.submit("/sign-in", &[("email", &person.email), ("password", PASSWORD)]).await;
        answer.assert_see_other("/");
        person
    }

    /// Returns a program with a token of this user for the tenant `acme`.
    pub fn token_of(&self, person: &Person, scopes: &[&str]) -> Person {
        Person::with_token(&self.base, &self.mint_token(UserId(person.user_id), Some(self.tenant), scopes))
    }

    /// Returns a program with an instance token of this operator.
    pub fn instance_token_of(&self, person: &Person, scopes: &[&str]) -> Person {
        Person::with_token(&self.base, &self.mint_token(UserId(person.user_id), None, scopes))
    }

    pub fn mint_token(&self, user: UserId, tenant: Option<TenantId>, scopes: &[&str]) -> String {
        let scopes = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
        let draft = TokenDraft { name: Some("test".to_owned()), tenant, scopes, expires_at: None };
        let (now, hasher) = (self.clock.now(), &self.running().state.hasher);
        let ask = NewToken::parse(draft, now).unwrap();
        let who = Operator::at_the_console();
        self.tx(|tx| access_tokens::mint_for(tx, &who, hasher, user, ask)).unwrap().secret.reveal_once()
    }

    /// Waits until a transaction of the server waits for a lock.
    pub async fn until_a_transaction_waits(&self) {
        let mut conn = self.conn();
        for _ in 0..1_000 {
            if 0 < waiting(&mut conn) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("no transaction waits for a lock");
    }

    /// Returns a program with an API key.
    pub fn key(&self, secret: &str) -> Person {
        self.stranger().with("x-api-key", secret)
    }
}

/// Counts transactions of this database that wait for a lock.
fn waiting(conn: &mut PgConnection) -> i64 {
    #[derive(QueryableByName)]
    struct Waiting {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        count: i64,
    }
    let query = "SELECT count(*) AS count FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    diesel::sql_query(query).get_result::<Waiting>(conn).unwrap().count
}

pub fn email(name: &str) -> String {
    format!("{name}@example.com")
}

/// Returns a hash of [`PASSWORD`] with the lowest cost of argon2. Tests about passwords set them through the server
/// instead.
fn password_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let least = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, least);
        argon2.hash_password(PASSWORD.as_bytes()).unwrap().to_string()
    })
}

//! Verification of access tokens from memory: the user, and what they may do now.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::cache::{Cache, Entry};
use super::cache_trust::{CacheTrust, Listening};
use super::meter::Meter;
use crate::domain::digest::Hasher;
use crate::domain::scope::ScopeSet;
use crate::domain::{AccessTokenId, Clock, Error, Result, Role, TenantId, UserId, access_token};
use crate::store::access_tokens::TokenRow;
use crate::store::notify::Change;
use crate::store::{self, Db};

const MOST_TOKENS: usize = 10_000;

/// Caller with a valid access token. Refers to the cached entry, so that no call copies it.
#[derive(Debug)]
pub struct Presenter(Arc<Entry<KnownToken>>);

impl Deref for Presenter {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0.value.caller
    }
}

/// User of a token and their rights.
#[derive(Debug)]
pub struct Caller {
    pub token_id: AccessTokenId,
    pub user_id: UserId,
    pub email: String,
    pub is_operator: bool,
    /// Tenant of the token. `None` for the whole instance, which only operators have.
    pub tenant: Option<TenantId>,
    /// Slug of the token's tenant.
    pub tenant_slug: Option<String>,
    /// Current role of the user in that tenant. `None` for an operator who is not a member.
    pub role: Option<Role>,
    pub scopes: ScopeSet,
}

/// Cached access token.
#[derive(Debug)]
struct KnownToken {
    row: TokenRow,
    caller: Caller,
    /// Unix second in which its use was last recorded.
    noted: AtomicI64,
}

impl KnownToken {
    fn new(row: TokenRow) -> Self {
        let TokenRow { token, user, role, tenant_slug } = &row;
        let caller = Caller {
            token_id: token.id,
            user_id: user.id,
            email: user.email.clone(),
            is_operator: user.is_operator,
            tenant: token.tenant_id,
            tenant_slug: tenant_slug.clone(),
            role: *role,
            scopes: ScopeSet::new(token.scopes.clone()),
        };
        Self { caller, row, noted: AtomicI64::new(i64::MIN) }
    }
}

/// Verifier of access tokens, shared by the whole process.
pub struct TokenGate {
    tokens: Arc<Cache<KnownToken>>,
    hasher: Arc<Hasher>,
    clock: Clock,
    meter: Meter,
}

impl TokenGate {
    pub fn new(db: Db, hasher: Arc<Hasher>, clock: Clock, meter: Meter) -> Self {
        let tokens = Cache::new(db, CacheTrust::default(), MOST_TOKENS, |conn, id| {
            Ok(store::access_tokens::find_for_gate(conn, id)?.map(KnownToken::new))
        });
        Self { tokens: Arc::new(tokens), hasher, clock, meter }
    }

    /// Returns the caller of this token. Unknown, wrong, revoked and expired tokens, and tokens of inactive users, all
    /// give `Unauthenticated`.
    pub async fn caller(&self, presented: &str) -> Result<Presenter> {
        let token = access_token::parse(presented).map_err(|_| Error::Unauthenticated)?;
        let Some(entry) = self.tokens.find(token.id()).await? else {
            // Take as long as for a known id with a wrong secret.
            self.hasher.waste(presented);
            return Err(Error::Unauthenticated);
        };
        let KnownToken { row: TokenRow { token, user, role, .. }, noted, .. } = &entry.value;
        let now = self.clock.now();
        let is_right = self.hasher.verify_token(&token.pepper_id, &token.digest, presented);
        // A token is never stronger than its user is now.
        let is_entitled = user.is_active && (user.is_operator || (token.tenant_id.is_some() && role.is_some()));
        if !is_right || !is_entitled || !token.is_live(now) {
            return Err(Error::Unauthenticated);
        }
        // One update per second is enough: more would make all calls with one token contend for the lock.
        let second = now.timestamp();
        if noted.load(Ordering::Relaxed) != second && noted.swap(second, Ordering::Relaxed) != second {
            self.meter.token_used(token.id, now);
        }
        Ok(Presenter(entry))
    }

    /// Removes whatever a change has made stale.
    pub fn invalidate(&self, change: &Change) {
        match change {
            Change::Access => self.tokens.forget_where(|_| true),
            Change::Tenant(tenant) => {
                self.tokens.forget_where(|known| known.row.token.tenant_id == Some(*tenant));
                // Tokens of a restored tenant may be cached as unknown.
                self.tokens.forget_absent();
            }
            Change::Key(_) | Change::Delivery | Change::DeliveryAt(_) => {}
        }
    }

    /// Passes on the listener's state. While changes do not arrive, each call reads the database if it responds.
    pub fn set_listening(&self, listening: Listening) {
        self.tokens.link().set_listening(listening);
    }
}

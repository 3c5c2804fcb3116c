//! Access tokens: bearer credentials of people, never stronger than the person's role.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::Operator;
use super::accounts::SignIn;
use super::audit::{self, AuditedAct};
use super::tenants::{self, TenantRef};
use crate::domain::access_token::{NewToken, TokenSecret};
use crate::domain::actor::Authority;
use crate::domain::digest::Hasher;
use crate::domain::page::{Page, Paging};
use crate::domain::scope::ScopeSet;
use crate::domain::{AccessTokenId, Actor, Error, Noun, Rejection, Result, Role, TenantId, UserId};
use crate::model::{AccessToken, NewAccessToken, Tenant, User};
use crate::store::access_tokens::TokenFilter;
use crate::store::notify::Change;
use crate::store::{self, Tx};

/// Lifetime of a token that a sign-in made.
const LOGIN_LASTS: TimeDelta = TimeDelta::hours(1);

/// New access token with its secret, which is stored nowhere.
#[derive(Debug)]
pub struct MintedToken {
    pub token: AccessToken,
    pub secret: TokenSecret,
}

/// Makes a token for the actor, in the actor's tenant. Its scopes are limited to the actor's own scopes.
pub fn mint(tx: &mut Tx<'_>, actor: &Actor, hasher: &Hasher, ask: NewToken) -> Result<MintedToken> {
    let Authority::Person { scopes, .. } = &actor.authority else {
        return Err(Error::forbidden("an API key cannot create access tokens"));
    };
    let user = actor.user.ok_or_else(|| Error::forbidden("only a person can have access tokens"))?;
    if ask.tenant != Some(actor.tenant) {
        return Err(Error::NotFound(Noun::Tenant));
    }
    let beyond = scopes.missing(ask.scopes.as_slice());
    if !beyond.is_empty() {
        return Err(Error::missing_scopes(&beyond));
    }
    let is_from_login = must_end_with_its_maker(tx, &ask)?;
    let minted = insert(tx, hasher, user, ask, is_from_login)?;
    audit::record(tx, actor, minted_deed(&minted.token))?;
    Ok(minted)
}

/// Makes a token for another user, as an operator. Only an operator's token can have no tenant; members need a tenant
/// of theirs. Runs in `Scope::Instance`.
pub fn mint_for(tx: &mut Tx<'_>, who: &Operator, hasher: &Hasher, user: UserId, ask: NewToken) -> Result<MintedToken> {
    let user = store::users::find(tx, user)?.ok_or(Error::NotFound(Noun::User))?;
    match ask.tenant {
        None if !user.is_operator => {
            let says = "is required: only an operator can have a token for the whole instance";
            return Err(Error::field("tenant_id", Rejection::new("required", says)));
        }
        Some(tenant) if !user.is_operator && store::memberships::find(tx, tenant, user.id)?.is_none() => {
            return Err(Error::field(
                "tenant_id",
                Rejection::new("not_a_member", "must be a tenant that this user belongs to"),
            ));
        }
        _ => {}
    }
    let tenant = ask.tenant;
    let is_from_login = must_end_with_its_maker(tx, &ask)?;
    let minted = insert(tx, hasher, user.id, ask, is_from_login)?;
    audit::record_for_instance(tx, who, tenant, minted_deed(&minted.token))?;
    Ok(minted)
}

/// Makes a one-hour token with all scopes, for a person who has just proven their password. The token is for the named
/// tenant, else for the person's first tenant. An operator who names no tenant gets a token for the instance. Runs in
/// `Scope::Instance`.
pub fn mint_at_login(
    tx: &mut Tx<'_>,
    who: &Operator,
    hasher: &Hasher,
    (user, has_code): (&User, bool),
    named: &[TenantRef],
) -> Result<MintedToken> {
    let now = tx.now;
    if !SignIn::of(user, has_code).still_holds(tx)? {
        return Err(Error::Unauthenticated);
    }
    let tenant = tenant_at_login(tx, user, named)?;
    let (name, expires_at) = ("Login".to_owned(), Some(now + LOGIN_LASTS));
    let ask = NewToken { name, tenant, scopes: ScopeSet::all(), expires_at, minted_by: None };
    let minted = insert(tx, hasher, user.id, ask, true)?;
    let who = Operator { user: Some(user.id), label: user.email.clone(), ..who.clone() };
    audit::record_for_instance(tx, &who, tenant, minted_deed(&minted.token))?;
    Ok(minted)
}

/// Finds the tenant of a sign-in. For members it searches only their own tenants. So a foreign tenant gets the same
/// response, for the same work, as a missing one.
fn tenant_at_login(conn: &mut PgConnection, user: &User, named: &[TenantRef]) -> Result<Option<TenantId>> {
    let absent = || Error::NotFound(Noun::Tenant);
    if user.is_operator {
        let found = named.iter().map(|named| Ok(tenants::find(conn, named)?.id)).collect::<Result<Vec<_>>>()?;
        let first = found.first().copied();
        return if found.iter().all(|other| Some(*other) == first) { Ok(first) } else { Err(absent()) };
    }
    let own = store::memberships::list_of_user(conn, user.id)?;
    let is_meant = |tenant: &Tenant| {
        named.iter().all(|named| match named {
            TenantRef::Id(id) => tenant.id == *id,
            TenantRef::Slug(slug) => tenant.slug == *slug,
        })
    };
    match own.into_iter().find(|(tenant, _)| is_meant(tenant)) {
        Some((tenant, _)) => Ok(Some(tenant.id)),
        None if named.is_empty() => Err(Error::forbidden("you are not a member of any tenant")),
        None => Err(absent()),
    }
}

/// Checks a token that another token makes: it must expire no later than its maker. Returns true if the maker stems
/// from a sign-in, because then the new token does too.
fn must_end_with_its_maker(tx: &mut Tx<'_>, ask: &NewToken) -> Result<bool> {
    let now = tx.now;
    let Some(maker) = ask.minted_by else { return Ok(false) };
    // The maker may have been revoked after authentication, so its row is locked and read again.
    let maker = store::access_tokens::lock(tx, maker)?.filter(|maker| maker.is_live(now));
    let maker = maker.ok_or(Error::Unauthenticated)?;
    // Compare in microseconds, the precision of the database column.
    let is_before =
        |end: &DateTime<Utc>| ask.expires_at.is_none_or(|at| end.timestamp_micros() < at.timestamp_micros());
    if let Some(end) = maker.expires_at.filter(is_before) {
        let end = end.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let says = format!(
            "must be {end} or earlier: the token of this request expires then, and so do the tokens that it creates"
        );
        return Err(Error::field("expires_at", Rejection::new("too_late", says)));
    }
    Ok(maker.is_from_login)
}

fn insert(tx: &mut Tx<'_>, hasher: &Hasher, user: UserId, ask: NewToken, is_from_login: bool) -> Result<MintedToken> {
    let now = tx.now;
    let secret = TokenSecret::generate()?;
    let (pepper_id, digest) = hasher.token_digest(secret.expose());
    let row = NewAccessToken {
        user_id: user,
        tenant_id: ask.tenant,
        name: ask.name,
        public_id: secret.public_id(),
        hint: secret.hint(),
        pepper_id,
        digest,
        scopes: ask.scopes.as_slice().to_vec(),
        expires_at: ask.expires_at,
        created_at: now,
        is_from_login,
        minted_by: ask.minted_by,
    };
    let token = store::access_tokens::insert(tx, &row)?;
    Ok(MintedToken { token, secret })
}

fn minted_deed(token: &AccessToken) -> AuditedAct {
    deed("access_token.minted", token).with("scopes", token.scopes.clone())
}

fn deed(action: &'static str, token: &AccessToken) -> AuditedAct {
    let deed =
        AuditedAct::new(action, target(token.id)).with("name", token.name.as_str()).with("user", token.user_id.0);
    match token.minted_by {
        Some(maker) => deed.with("minted_by", maker.0),
        None => deed,
    }
}

/// Returns one page of the actor's own tokens in this tenant. Admins and owners see all tokens of the tenant.
pub fn list(
    conn: &mut PgConnection,
    actor: &Actor,
    paging: &Paging<AccessTokenId>,
) -> Result<Page<AccessToken, AccessTokenId>> {
    let user = if sees_all(actor) { None } else { Some(owner(actor)?) };
    page(conn, TokenFilter { tenant: Some(actor.tenant), user }, paging)
}

/// Returns one page of the tokens of the instance itself. Runs in `Scope::Instance`.
pub fn list_of_instance(
    conn: &mut PgConnection,
    paging: &Paging<AccessTokenId>,
) -> Result<Page<AccessToken, AccessTokenId>> {
    page(conn, TokenFilter::default(), paging)
}

fn page(
    conn: &mut PgConnection,
    filter: TokenFilter,
    paging: &Paging<AccessTokenId>,
) -> Result<Page<AccessToken, AccessTokenId>> {
    let rows = store::access_tokens::list(conn, filter, paging)?;
    let mut page = Page::cut(rows, paging, |token| token.id);
    if paging.offset.is_some() {
        page.total = Some(store::access_tokens::count(conn, filter)?);
    }
    Ok(page)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: AccessTokenId) -> Result<AccessToken> {
    let token = store::access_tokens::find(conn, Some(actor.tenant), id)?;
    // Report another person's token as absent.
    let is_seen = |token: &AccessToken| sees_all(actor) || Some(token.user_id) == actor.user;
    token.filter(is_seen).ok_or(Error::NotFound(Noun::AccessToken))
}

pub fn find_of_instance(conn: &mut PgConnection, id: AccessTokenId) -> Result<AccessToken> {
    store::access_tokens::find(conn, None, id)?.ok_or(Error::NotFound(Noun::AccessToken))
}

/// Revokes the token for good, with all tokens that it made. A revoked token stays as it is.
pub fn revoke(tx: &mut Tx<'_>, actor: &Actor, id: AccessTokenId) -> Result<AccessToken> {
    let token = find(tx, actor, id)?;
    let revoked = revoke_with_its_own(tx, &token)?;
    if !revoked.is_empty() {
        audit::record_all(tx, actor, revoked.iter().map(revoked_deed).collect())?;
        tx.announce(Change::Access);
    }
    Ok(token)
}

/// Revokes a token of the instance itself, like [`revoke`]. Runs in `Scope::Instance`.
pub fn revoke_of_instance(tx: &mut Tx<'_>, who: &Operator, id: AccessTokenId) -> Result<AccessToken> {
    let token = find_of_instance(tx, id)?;
    let revoked = revoke_with_its_own(tx, &token)?;
    for one in &revoked {
        audit::record_for_instance(tx, who, one.tenant_id, revoked_deed(one))?;
    }
    if !revoked.is_empty() {
        tx.announce(Change::Access);
    }
    Ok(token)
}

/// Revokes a token and, level by level, the tokens made with it. Returns those that were live. A token is locked while
/// it makes another, so after its revocation all of its children are visible.
fn revoke_with_its_own(tx: &mut Tx<'_>, token: &AccessToken) -> Result<Vec<AccessToken>> {
    let now = tx.now;
    if !store::access_tokens::revoke(tx, token.id, now)? {
        return Ok(Vec::new());
    }
    let (mut revoked, mut makers) = (vec![token.clone()], vec![token.id]);
    while !makers.is_empty() {
        let made = store::access_tokens::revoke_minted_by(tx, &makers, now)?;
        makers = made.iter().map(|token| token.id).collect();
        revoked.extend(made);
    }
    Ok(revoked)
}

fn revoked_deed(token: &AccessToken) -> AuditedAct {
    deed("access_token.revoked", token)
}

fn sees_all(actor: &Actor) -> bool {
    matches!(&actor.authority, Authority::Person { role, .. } if Role::Admin <= *role)
}

fn owner(actor: &Actor) -> Result<UserId> {
    actor.user.ok_or_else(|| Error::forbidden("only a person can have access tokens"))
}

fn target(id: AccessTokenId) -> String {
    format!("access_token:{id}")
}

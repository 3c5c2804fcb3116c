//! Pages about access tokens: the user's own credentials for the JSON API.

pub mod view;

use actix_web::web::{Data, Path};
use chrono::{DateTime, TimeDelta, Utc};

use super::api_keys::acts::Confirmed;
use super::api_keys::secretive;
use super::paging::PagePlace;
use super::{confirmations, page, see_other, stem, unprocessable};
use crate::domain::access_token::{NewToken, SCOPES, TokenDraft};
use crate::domain::{AccessTokenId, Actor, Error, FieldErrors, Rejection, Result};
use crate::model::AccessToken;
use crate::services::access_tokens::{self, MintedToken};
use crate::services::account::{self, HANDLE};
use crate::services::idempotency::{IdempotencyOutcome, submit_once};
use crate::services::{Operator, random_token};
use crate::store::{Scope, Tx};
use crate::web::auth::SignedIn;
use crate::web::flash::Flash;
use crate::web::forms::CheckedForm;
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::shell::Shell;
use crate::web::state::State;
use crate::web::urls;
use crate::web::view::{Badge, Choice, Confirmation, Pager, Snippet, When};
use view::{Created, Index, New, Row, TokenForm};

const ROWS: i64 = 50;
const EXPIRIES: [(&str, &str); 5] =
    [("30", "In 30 days"), ("90", "In 90 days"), ("180", "In 180 days"), ("365", "In a year"), ("never", "Never")];

pub async fn index(state: Data<State>, mut who: SignedIn, Query(asked): Query<PagePlace>) -> Answer {
    who.shell.note_ignored(&asked.noted::<AccessTokenId>());
    let (actor, paging, now) = (who.actor, asked.paging::<AccessTokenId>(ROWS), state.clock.now());
    let list = move |tx: &mut Tx<'_>| access_tokens::list(tx, &actor, &paging);
    let found = state.pages.read(Scope::Tenant(who.shell.tenant.id), list).await?;
    page(&Index {
        pager: Pager::new(urls::TOKENS, &[], &found),
        rows: found.rows.into_iter().map(|token| row(token, &who.shell.csrf, now)).collect(),
        shell: who.shell,
    })
}

fn row(token: AccessToken, csrf: &str, now: DateTime<Utc>) -> Row {
    let state = match (token.revoked_at, token.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        _ => "active",
    };
    Row {
        revoke: ask(&token, csrf),
        is_live: token.is_live(now),
        state: Badge::state(state),
        reach: if token.tenant_id.is_some() { "This tenant" } else { "Whole instance" },
        last_used: When::maybe(token.last_used_at, now),
        expires: When::maybe(token.expires_at, now),
        id: token.id.0,
        name: token.name,
        hint: token.hint,
        scopes: token.scopes,
    }
}

fn ask(token: &AccessToken, csrf: &str) -> Confirmation {
    let says =
        "Programs that use this token are refused permanently. Tokens that were created with it stop working too.";
    Confirmation::new(format!("revoke-token-{}", token.id), format!("Revoke {}?", token.name), says).posts(
        "Revoke token",
        urls::token_act(token.id, "revocation"),
        csrf,
        urls::TOKENS,
    )
}

/// Shows the form. A token outlives the session that created it, so creating one needs a recent proof of identity.
pub async fn new(who: SignedIn) -> Answer {
    who.proof.must_be_recent()?;
    let form =
        TokenForm { nonce: random_token()?, expiry: "90".into(), reach: "tenant".into(), ..TokenForm::default() };
    page(&new_view(who.shell, form, FieldErrors::default()))
}

fn new_view(shell: Shell, form: TokenForm, errors: FieldErrors) -> New {
    let scopes = SCOPES.iter().filter(|scope| **scope != "*");
    let scopes = scopes.map(|scope| Choice {
        is_chosen: form.scopes.iter().any(|asked| asked == scope),
        ..Choice::new(*scope, "", "")
    });
    let reaches = [
        ("tenant", "This tenant", "Can see and change only this tenant."),
        ("instance", "The whole instance", "Each call names a tenant."),
    ];
    let reaches = reaches.into_iter().filter(|_| shell.is_operator);
    New {
        scopes: scopes.collect(),
        reaches: reaches.map(|(value, label, help)| Choice::new(value, label, &form.reach).help(help)).collect(),
        expiries: Choice::list(&EXPIRIES, &form.expiry),
        shell,
        form,
        errors,
    }
}

impl TokenForm {
    fn draft(&self, actor: &Actor, now: DateTime<Utc>) -> Result<TokenDraft> {
        let expires_at = match self.expiry.as_str() {
            "never" => None,
            days => {
                let days: Option<i64> = days.parse().ok().filter(|days| (1..=3_650).contains(days));
                let refused = || Error::field("expiry", Rejection::new("choice", "Choose when the token expires."));
                Some(now + TimeDelta::days(days.ok_or_else(refused)?))
            }
        };
        Ok(TokenDraft {
            name: Some(self.name.clone()),
            tenant: (self.reach != "instance").then_some(actor.tenant),
            scopes: Some(self.scopes.clone()).filter(|scopes| !scopes.is_empty()),
            expires_at,
        })
    }
}

/// Creates a token and shows it in the response to the POST. A repeated submission creates no second token.
pub async fn create(state: Data<State>, who: SignedIn, CheckedForm(form): CheckedForm<TokenForm>) -> Answer {
    who.proof.must_be_recent()?;
    let now = state.clock.now();
    let here = who.session.get::<String>(HANDLE).ok().flatten().unwrap_or_default();
    let minted = match form.draft(&who.actor, now).and_then(|draft| NewToken::parse(draft, now)) {
        Ok(ask) => mint(&state, (who.actor, here), form.nonce.clone(), ask).await,
        Err(error) => Err(error),
    };
    match minted {
        Ok(IdempotencyOutcome::First(minted)) => page(&created(who.shell, minted, stem(&who.base))).map(secretive),
        Ok(IdempotencyOutcome::Again(_)) => {
            let said = "This form has already created its token, which was shown only then. If the token is lost, revoke it and create another one.";
            see_other(&who.session, urls::TOKENS, Flash::good(said))
        }
        Err(Error::Invalid(errors)) => unprocessable(&new_view(who.shell, form, errors)),
        Err(error) => Err(error.into()),
    }
}

async fn mint(
    state: &State,
    (actor, here): (Actor, String),
    nonce: String,
    ask: NewToken,
) -> Result<IdempotencyOutcome<MintedToken, String>> {
    let hasher = state.hasher.clone();
    let is_for_instance = ask.tenant.is_none();
    let user = actor.user.ok_or(Error::Unauthenticated)?;
    let db = state.pages.charged_to(actor.tenant);
    let mint = move |tx: &mut Tx<'_>| {
        account::must_be_signed_in(tx, user, &here)?;
        let work = |tx: &mut Tx<'_>| match is_for_instance {
            true if actor.is_operator => access_tokens::mint_for(tx, &operator(&actor), &hasher, user, ask),
            true => Err(Error::forbidden("only an operator can have a token for the whole instance")),
            false => access_tokens::mint(tx, &actor, &hasher, ask),
        };
        submit_once(tx, actor.tenant, ("page:/tokens", &nonce), work, |minted| minted.token.id.to_string())
    };
    db.tx(Scope::Instance, mint).await
}

fn operator(actor: &Actor) -> Operator {
    Operator {
        user: actor.user,
        via: actor.via,
        label: actor.label.clone(),
        ip: actor.ip,
        request_id: actor.request_id.clone(),
    }
}

fn created(shell: Shell, minted: MintedToken, base: &str) -> Created {
    let secret = minted.secret.reveal_once();
    let curl = format!("curl {base}/api/keys \\\n  -H \"Authorization: Bearer {secret}\"");
    Created {
        shell,
        name: minted.token.name,
        dotenv: format!("GATEPOST_TOKEN={secret}\n"),
        secret,
        snippets: vec![Snippet::new("curl", curl)],
    }
}

pub async fn ask_revoke(state: Data<State>, who: SignedIn, id: Path<AccessTokenId>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let find = move |tx: &mut Tx<'_>| access_tokens::find(tx, &actor, id);
    let token = state.pages.read(Scope::Tenant(who.shell.tenant.id), find).await?;
    let ask = ask(&token, &who.shell.csrf);
    page(&confirmations::New::of(who.shell, ask))
}

pub async fn revoke(state: Data<State>, who: SignedIn, id: Path<AccessTokenId>, _: CheckedForm<Confirmed>) -> Answer {
    let (actor, id) = (who.actor, *id);
    let act = move |tx: &mut Tx<'_>| access_tokens::revoke(tx, &actor, id);
    let token = state.pages.tx(Scope::Tenant(who.shell.tenant.id), act).await?;
    see_other(&who.session, urls::TOKENS, Flash::good(format!("{} is revoked.", token.name)))
}
